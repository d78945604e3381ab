"""What is in new pictures that nobody has labelled?

A run, an exported SavedModel or an ONNX file (`load`), and pictures as they come: files, folders, globs, video, a
camera, arrays  ->  of each a `Result`: score, verdict, regions, map; with the command, a folder of them that grows.
"""
