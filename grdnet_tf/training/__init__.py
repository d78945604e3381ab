"""What happens around the steps, and what is in a run folder?

    configuration, data folder -> prepare (no TensorFlow) -> building (model and its two data sets) -> fit -> RUN

`run_folder` says what stands in RUN, `resume` goes on from there to the bit, `callbacks` are what an epoch's end needs.
Gives RUN/best/weights.npz, with which `building.load_run` makes the trained model again.
"""
