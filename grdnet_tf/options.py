"""Every option of the product: its type, range, default and reason, once.

A section here is a section of the YAML file and of `--set section.key=value` (`config` reads those), and an argument of
the library: `GRDNet(**options of Network)`, `model.compile(objective=Loss(...), noise=Noise(...))`. A value of another
type or outside its range is an `InputError` of one line. docs/configuration.md is printed from here (`python -m
grdnet_tf.cli.keys`).
"""
from typing import Annotated, Literal, Optional, Tuple, Union

from pydantic import Field, StrictBool

from .kinds import Section, choice, number, odd, one_of, option, pair, share_or_switch, tile, weights, whole

SOURCES = ("color_image", "color_blob", "color_pixel", "own_texture", "cut_paste", "shift", "warp", "smooth",
           "shade", "texture", "real")
SHAPES = ("blob", "line", "spot", "rectangle")
READINGS = ("masked_target", "intersection", "overlap", "intersection_overlap", "intersection_negated_overlap")
METHODS = ("grdnet", "ganomaly", "draem", "padim", "patchcore")
BACKBONES = ("efficientnet_lite0", "resnet50", "resnet101", "mobilenet_v2", "scattering")
MONITORS = ("val_segmentation", "val_image_auroc", "val_pixel_ap", "val_loss", "val_generator", "loss", "segmentation")

Share = number(0.0, 1.0)
Angle = number(0.0, 3.1415927)
Widths = Annotated[Tuple[whole(1, 65536), ...], Field(min_length=1)]
Side = whole(8, 65536)
Probability = Annotated[Share, Field(description="share of the pictures that are disturbed")]
Threshold = Annotated[pair(number(-1.0, 1.0)), Field(description="of the noise, which lies in [-1, 1]")]
Scales = Annotated[pair(whole(0, 5)), Field(description="lattice cells an axis: 2^low .. 2^high")]
Opacity = Annotated[pair(Share), Field(description="share of the source in the blend (beta): 1 replaces")]
Blurred = Annotated[Share, Field(description="share of the defects whose edges are blurred by a pixel, as by optics: "
                                 "a network knows drawn ones by sharp edges")]
Sources = Annotated[weights(*SOURCES), Field(description="what a defect shows, name: weight; see defects/sources.py")]
Shapes = Annotated[weights(*SHAPES), Field(description="its outline, name: weight; see defects/shapes.py")]


class Data(Section):
    """Which pictures, at what size, and how they are varied."""
    root: Optional[str] = option(None, "the data folder; `--data` sets it")
    add_good: Tuple[str, ...] = option((), "further folders of good pictures to train on; each `--add-good` adds one")
    add_repeat: whole(1, 1000) = option(1, "how often an added picture comes while each of the others comes once")
    upright: Union[StrictBool, Literal["auto"]] = option(
        False, "parts are turned to lie alike, as `grdnet align` does, and their pictures kept in RUN/upright, of no more pixels "
        "than `image_size` has; auto: where they lie in all directions on plain ground")
    image_size: Tuple[Side, Side] = option((256, 256), "(H, W) that every picture is resized to")
    crop: Optional[Tuple[whole(1), whole(1)]] = option(None, "(h, w) of the windows trained on; null: whole pictures")
    channels: choice("auto", "1", "3") = option("auto", "auto: as the pictures are")
    white: whole(0, 65535) = option(
        0, "value of a pixel that counts as white, brighter ones too: 4095 for 12 bit in a 16-bit file; 0: the file's range")
    held_out: number(0.0, 0.5) = option(0.1, "share of train/good kept for validation and the threshold")
    held_out_by: choice("picture", "part") = option(
        "picture", "part: pictures of one part, by their likeness, are held out together, or trained on together")
    cache: choice("auto", "ram", "none") = option("auto", "where decoded pictures are kept; auto: in RAM, within `cache_gb`")
    cache_gb: number() = option(4.0, "gigabytes that `cache: auto` may take")
    rotation: Angle = option(1.5707963, "augmentation turns by [-rotation, rotation] rad (paper, section 7.3)")
    turned: Share = option(1.0, "share of the pictures that are turned: a turn blurs a little")
    flip_horizontal: StrictBool = option(True, "half of the pictures are mirrored left to right")
    flip_vertical: StrictBool = option(True, "half of the pictures are mirrored upside down")
    orientation: choice("any", "measured") = option(
        "any", "measured: of the turns and flips only what good pictures show by themselves")
    border: choice("reflect", "constant", "nearest", "wrap") = option("reflect", "what a turn brings in at the border")
    brightness: number(0.0, 0.9) = option(0.0, "the whole picture is darker or lighter by up to this share")
    contrast: number(0.0, 0.9) = option(0.0, "its contrast about its mean is lowered or raised by up to this share")
    varied: Share = option(0.0, "share of the pictures with light, focus and noise a little other, as a camera brings them")
    on_bad_image: choice("error", "skip") = option("error", "what a file that cannot be used does")
    max_skipped: Share = option(0.05, "share of skipped pictures that stops the run")
    parallel_calls: whole() = option(0, "threads of the input pipeline; 0: tf.data decides")

    @property
    def trained_size(self) -> Tuple[int, int]:
        """(H, W) of what a training step sees."""
        return self.crop or self.image_size


class Defects(Section):
    """What synthetic defects are drawn. Pairs are [lowest, highest], drawn uniformly per picture.

    What the shape "blob" covers at one threshold (320 samples of 128 x 128, scales 0-5):

    =====================  ====  ====  ====  ====  ====  ====  ====  =====
    threshold               0.0   0.1   0.2   0.3   0.4   0.5   0.6    0.7
    mean share of picture  49 %  38 %  26 %  17 %  10 %   5 %   2 %  0.4 %
    masks that are empty    0 %   0 %   0 %   2 %   5 %   6 %  10 %   29 %
    =====================  ====  ====  ====  ====  ====  ====  ====  =====

    A "line" covers about 0.9 %, a "spot" 0.5 %, a "rectangle" 1.1 %; `blurred` adds a pixel all round, `contrast` takes
    away what does not stand out. An empty mask, and one below `min_area`, leaves the picture as it was, so the share of
    pictures disturbed stays somewhat below `probability`.
    """
    probability: Probability = 0.5
    threshold: Threshold = (0.2, 0.6)
    scales: Scales = (0, 5)
    min_area: whole() = option(8, "pixels; a smaller mask is emptied, its picture stays as it was")
    opacity: Opacity = (0.2, 1.0)
    contrast: number() = option(0.0, "by how many standard deviations of its surroundings a defect stands out")
    blurred: Blurred = 0.0
    grain: Share = option(0.0, "share of smooth defects over which the picture's own noise goes on")
    soft_edges: Share = option(0.0, "share of the defects that fade towards their edge, as stains do")
    matched: Share = option(0.0, "share of pasted defects of the mean colour they cover: structure alone")
    seamless: Share = option(0.0, "share of pasted defects that meet their surroundings without a step")
    rotation: Angle = option(1.5707963, "rad, by which the noise is turned")
    defects: whole(1, 64) = option(1, "in one disturbed picture at most; each further one with chance 1/2")
    within_roi: Share = option(0.0, "share of the defects inside the region of interest; others anywhere")
    sources: Sources = {"color_blob": 1.0}
    shapes: Shapes = {"blob": 1.0}


class Noise(Defects):
    """The training noise, P of the paper."""
    place: choice("auto", "device", "host") = option(
        "auto", "device: first op of the training step; host: in tf.data; auto: device with a GPU")
    textures: Optional[str] = option(None, "folder of pictures for the source `texture`")
    real: Optional[str] = option(None, "data folder whose test/<defect> and ground_truth the source `real` cuts its "
                                 "defects from")


class Validation(Defects):
    """The fixed synthetic defects on the held-out pictures: on purpose another family than the training noise."""
    views: whole(1) = option(64, "disturbed pictures, at least: few held-out ones are shown several times")
    drawn: whole() = option(
        0, "at the end of a run: defects of each kind that no training noise knows, drawn on held-out pictures; how well they "
           "are found, and how many good ones another camera would have rejected (RUN/drawn.json); 0: none")
    probability: Probability = 0.7
    threshold: Threshold = (0.4, 0.7)
    scales: Scales = (2, 4)
    opacity: Opacity = (0.3, 1.0)
    blurred: Blurred = 1.0
    sources: Sources = {"cut_paste": 1.0, "shade": 1.0, "color_image": 1.0}
    shapes: Shapes = {"line": 1.0, "spot": 1.0, "rectangle": 1.0}


class Network(Section):
    """The sizes of the five networks. The defaults are the paper's where it gives them (256 x 256: z is 32 x 8 x 8)."""
    widths: Widths = option((32, 64, 128, 256, 512), "of encoders and decoder, a stage of stride 2 each")
    stem: whole(0, 65536) = option(32, "width at full resolution; 0: start at stride 2")
    blocks: whole(1, 64) = option(2, "residual blocks a stage (Fig. 5)")
    latent: whole(1, 65536) = option(32, "channels (crae) or units (drae) of z")
    bottleneck: choice("crae", "drae") = option("crae", "crae: convolutional; drae: dense, one picture size only")
    residual: StrictBool = option(True, "false: the vanilla autoencoder of Table 1")
    pre_activation: StrictBool = option(
        False, "residual blocks of ResNet V2, norm and activation before each convolution; Fig. 5 has them after")
    batch_norm: StrictBool = option(True, "batch normalisation in every block; Fig. 5 has none")
    discriminator_widths: Optional[Widths] = option(
        (32, 64, 128, 256, 512), "a stage of stride 2 each; null: no discriminator")
    discriminator_blocks: Optional[whole(1, 64)] = option(
        None, "residual blocks a stage of the discriminator; null: as `blocks`")
    segmenter_widths: Optional[Widths] = option(
        (32, 64, 128, 256, 512), "of the U-Net, a level each; null: no U-Net, the map is the mean |X - X^|")
    segmenter_stride: one_of(1, 2) = option(1, "2: the U-Net starts and ends at half resolution")
    segmenter_difference: StrictBool = option(
        False, "show the U-Net |X - X^| besides the two pictures: it learns several times faster")
    segmenter_matching: StrictBool = option(
        False, "show the U-Net what eq. 2 compares, |f(X) - f(X^)| and |z - z^|, where it has their stride")
    segmenter_roi: StrictBool = option(
        False, "show the U-Net the region of interest: in every second pass of training, and where one is given")
    score_pool: odd(1, 4095) = option(21, "pixels, odd: the score is the maximum of the map's average over so many")

    @property
    def inference_stride(self) -> int:
        """What both sides of a picture to be judged must be divisible by."""
        levels = len(self.segmenter_widths or ()) - 1 + (self.segmenter_stride == 2)
        judging = len(self.discriminator_widths or ()) if self.segmenter_matching else 0
        return 2 ** max(len(self.widths), levels, judging)

    @property
    def total_stride(self) -> int:
        """The same of a picture to train on, which the discriminator sees too."""
        return max(self.inference_stride, 2 ** len(self.discriminator_widths or ()))


class Loss(Section):
    """Weights and readings of the losses; the defaults are the paper's (eq. 1-6)."""
    adversarial: number() = option(1.0, "w1 of eq. 2, feature matching; 0: no discriminator")
    contextual: number() = option(50.0, "w2 of eq. 2")
    encoder: number() = option(1.0, "w3 of eq. 2, between the latents; 0: no second encoder")
    l1: number() = option(1.0, "wa of eq. 1")
    l2: number() = option(0.0, "weight of a mean squared difference beside eq. 1: DRAEM has it instead of L1")
    ssim: number() = option(1.0, "wb of eq. 1")
    encoder_norm: choice("l1", "l2") = option("l2", "distance of the latents; l2: mean squared, as GANomaly")
    segmentation: number() = option(1.0, "weight of the segmenter's loss (eq. 6)")
    roi_reading: choice(*READINGS) = option(
        "masked_target", "how the region of interest enters the loss; see model/losses.py")
    overlap: Share = option(1.0, "w of eq. 8, for the readings with overlap")
    focal_gamma: number(0.0, 100.0) = option(2.0, "gamma of eq. 4")
    focal_alpha: Optional[Share] = option(
        None, "weight of defective pixels, 1 - alpha of good ones; null: both weigh 1")
    soft_target: number(0.0, 1.0) = option(
        0.0, "change of its 5 x 5 pixels by which a defect is asked for with 0.43, twice as much with 0.86; 0: always "
             "with 1")
    segmentation_to_generator: share_or_switch() = option(
        0.0, "share of the segmentation loss that trains the generator too; 0: two phases, 1: as DRAEM")


class Features(Section):
    """What `method: padim` and `patchcore` see with, and what they keep of it; `fused`: what GRD-Net has beside it."""
    fused: Union[StrictBool, Literal["auto"]] = option(
        False, "GRD-Net: after the steps PaDiM is fitted on the same pictures, and the two judge together; auto: unless "
        "pictures have regions of their own, none are held out, station.tiles are set, or their size or memory forbid it")
    backbone: choice(*BACKBONES) = option(
        "efficientnet_lite0", "network trained on ImageNet, of which the next three need `weights`; scattering: fixed "
        "wavelets, nothing trained or downloaded")
    weights: Optional[str] = option(
        None, "its file; `imagenet`: Keras downloads it (not for efficientnet_lite0); null: the installed package")
    wavelets: StrictBool = option(False, "fixed wavelets, as of scattering, are seen too beside the network's activations")
    strides: Annotated[Tuple[one_of(4, 8, 16, 32), ...], Field(min_length=1)] = option(
        (8, 16), "of the activations; the smallest is the grid's")
    enlarged: choice("bilinear", "repeated") = option(
        "bilinear", "how activations of a larger stride come onto the grid of the smallest")
    smoothing: number(0.0, 1000.0) = option(4.0, "pixels, standard deviation of the Gaussian over the map; 0: none")
    varied: whole(0, 100) = option(0, "copies of each good picture learnt besides, light, focus, noise and JPEG a little other")
    ridge: number(1e-6) = option(0.01, "PaDiM: added to the variances; what a place has that never varies")
    channels: whole() = option(0, "PaDiM: kept of all, drawn by train.seed; 0: all")
    groups: whole(1) = option(1, "PaDiM: into which the channels are drawn; no covariance between them is kept")
    neighbourhood: odd(1, 15) = option(3, "PatchCore: side of the square that a patch averages over")
    candidates: whole(2) = option(50000, "PatchCore: patches, drawn at random, that the bank is chosen of: bounds memory")
    coreset: number(0.0, 1.0) = option(0.1, "PatchCore: share of the candidates that is kept, the paper's 10 %")
    projection: whole() = option(64, "PatchCore: numbers a patch is projected to while the bank is chosen; 0: none")
    neighbours: whole(1, 1000) = option(9, "PatchCore: b of eq. 7, the score's weight")


class Station(Section):
    """What a run knows of the place where it inspects: kept in RUN/station.yaml, and in each export."""
    um_per_pixel: Optional[number(1e-6)] = option(None, "micrometres of a pixel of the pictures' files")
    min_area: whole(1) = option(1, "pixels of the map, of the least region that counts")
    tiles: Optional[tile(65536)] = option(
        None, "[side, overlap]: judged at their own size, in tiles; null: resized as trained")
    roi: Optional[str] = option(None, "file with the region where defects matter in all pictures; the run keeps a copy; "
                                "null: the data folder's, where all pictures share one")
    follow: Optional[str] = option(
        None, "the picture on which that region was drawn, the run keeps a copy: the region goes with the part, which "
        "is looked for in each picture; null: it stays")
    align: Optional[str] = option(
        None, "align.json, the run keeps a copy: pictures to be judged are turned upright by it as those trained on were; "
        "null: the data folder's, where it was written by `grdnet align`")


class Origin(Section):
    """Where a run began from: `grdnet train --from RUN` writes it, nobody sets it."""
    parent: Optional[str] = option(None, "the run folder whose best weights it began with; null: from the beginning")
    weights_sha256: Optional[str] = option(None, "of those weights, as in summary.json and in reports")
    updates: whole() = option(0, "that its optimizers had made before, with `--keep-optimizers`; 0: they are fresh")


class Train(Section):
    """How long, how fast, and what a run keeps."""
    epochs: whole(1) = option(200, "the paper's (section 8.1)")
    steps_per_epoch: whole() = option(0, "0: one pass over the training pictures")
    batch_size: whole(1, 65536) = option(16, "of all replicas together")
    learning_rate: number() = option(1e-4, "of the three Adam optimizers, at its highest")
    beta_1: number(0.0, 1.0) = option(0.9, "of Adam")
    clip_norm: number() = option(0.0, "bound of each network's whole gradient; 0: off")
    ema: number(0.0, 0.99999) = option(0.0, "decay of the averaged weights that validation and the best use; 0: off")
    schedule: choice("plateau", "cosine", "steps") = option(
        "plateau", "plateau: eq. 7; cosine: to min_learning_rate at the last step; steps: lower after `rate_epochs`")
    warmup_steps: whole() = option(0, "linear, with the cosine schedule")
    cosine_epochs: whole() = option(
        0, "where the cosine ends, later epochs stay at min_learning_rate; 0: at `epochs`, a resumed run at its first")
    rate_epochs: Tuple[whole(1), ...] = option((), "with the schedule steps: after each of these epochs ...")
    rate_factor: number(0.0, 1.0) = option(0.1, "... the rate is multiplied by this, as DRAEM's after 400 and 600")
    plateau_patience: whole(1) = option(3, "epochs without a better monitor before eq. 7")
    plateau_alpha: number() = option(0.1, "eq. 7: lr <- lr * exp(-alpha)")
    min_learning_rate: number() = option(1e-6, "neither plateau nor cosine goes below")
    keep_epochs: Tuple[whole(1), ...] = option((), "epochs whose weights stay in RUN/epochs for evaluate --epoch N")
    monitor: choice(*MONITORS) = option("val_segmentation", "figure that names the best epoch")
    early_stopping: whole() = option(0, "epochs without a better monitor that end the run; 0: off")
    checkpoint_steps: whole() = option(0, "a checkpoint every so many steps within an epoch; 0: at its end")
    seed: whole() = option(0, "of weights, order, augmentation, noise and the held-out part")
    precision: choice("float32", "mixed_float16", "mixed_bfloat16") = option("float32", "the networks'; losses: float32")
    jit: choice("auto", "on", "off") = option("auto", "XLA; auto: on a GPU only, slower on a CPU")
    deterministic: StrictBool = option(False, "the same bits in every run, slower")
    strategy: choice("none", "mirrored", "multiworker") = option(
        "none", "mirrored: all GPUs of this machine; multiworker: several machines")
    image_every: whole() = option(5, "epochs between picture strips in TensorBoard; the first and last have them too; 0: none")


# What each method reads of the sections; None: all of it. Anything else that is not at its default is an error.
_FITTED_DATA = ("root", "add_good", "upright", "image_size", "channels", "white", "held_out", "held_out_by", "on_bad_image",
                "max_skipped", "parallel_calls")
_FITTED_TRAIN = ("batch_size", "seed")
_BOTH = ("backbone", "weights", "wavelets", "strides", "enlarged", "smoothing", "varied")
READ = {
    "grdnet": {"data": None, "noise": None, "validation": None, "network": None, "loss": None, "train": None,
               "features": ("fused", "backbone", "wavelets", "groups", "varied")},  # wait for `fused` to be true again
    "ganomaly": {"data": None, "noise": ("textures", "real"), "validation": None,
                 "network": ("widths", "latent", "batch_norm"),
                 "loss": ("adversarial", "contextual", "encoder", "encoder_norm"), "train": None},
    "draem": {"data": None, "noise": None, "validation": None,
              "network": ("widths", "segmenter_widths", "batch_norm", "score_pool"),
              "loss": ("ssim", "segmentation", "focal_gamma", "focal_alpha"), "train": None},
    "padim": {"data": _FITTED_DATA, "features": (*_BOTH, "ridge", "channels", "groups"), "train": _FITTED_TRAIN,
              "validation": ("drawn",)},
    "patchcore": {"data": _FITTED_DATA, "train": _FITTED_TRAIN, "validation": ("drawn",),
                  "features": (*_BOTH, "neighbourhood", "candidates", "coreset", "projection", "neighbours")},
}
for _sections in READ.values():
    _sections["station"] = None  # what a line is told is the same whatever judges
FITTED = ("padim", "patchcore")  # in one pass; the others train by steps
for _method in set(METHODS) - set(FITTED):
    READ[_method]["origin"] = None
READ["fused"] = {**READ["grdnet"], "features": ("fused", *READ["padim"]["features"])}  # grdnet with `features.fused`
FUSED_HINT = "; train --resume --set features.fused=false leaves GRD-Net alone, which takes others"
