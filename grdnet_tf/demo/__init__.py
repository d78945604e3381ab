"""What is in the demo set?

    seed -> scene (what lies where) -> render (how it looks) -> dataset (a folder in the MVTec layout, with ROI)

Takes a folder to write to; gives pictures drawn by this code alone: a strip of vials, defects inside the region of
interest and dirt beside it. No TensorFlow.
"""
