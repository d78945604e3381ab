"""How good is it, and where to reject?

    model, records -> predict -> measure (a row an image, a histogram of pixels) -> figures -> report.json's content
    good records   -> calibration, thresholds -> where to reject, and what that promises

Takes a trained model and records; gives numbers, NumPy and plain data. It draws nothing and writes no page.
"""
