"""What is in the demo sets?

    seed -> scene (what lies where) -> render (how it looks) -> dataset (a folder in the MVTec layout, with ROI)

    seed -> parts (loose parts in any direction, what breaks in them) -> dataset (without a region)

Takes a folder to write to; gives pictures drawn by this code alone: strips of vials, defects inside the region of
interest and dirt beside it; or loose parts on dusty ground. No TensorFlow.
"""
