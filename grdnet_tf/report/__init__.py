"""What does a person see?

    Evaluation -> report (report.json, CSV files) -> page (report.html, with charts) and pictures (one sheet an image)
    several reports -> comparison

Takes the numbers of `evaluation`; gives files that open anywhere, without a network and without TensorFlow.
"""
