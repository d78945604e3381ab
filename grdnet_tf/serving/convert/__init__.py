"""Which other forms does an export take, and does each judge as the SavedModel does?

    SavedModel -> graphs (one signature, constants folded) -> onnx, tensorrt -> judge (scores and decisions compared)
"""
