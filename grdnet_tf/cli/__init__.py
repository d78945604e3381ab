"""What does each command take and print?

    grdnet SUBCOMMAND, or train.py, evaluate.py, export.py at the top   ->  `main(argv)` of the file of that name

Takes the words of a command line; gives an exit status: 0 done, 1 stopped on the way, 2 the user's mistake, in one
line. Flags, paths and data are judged before TensorFlow is imported, so that --help and a wrong path are answered at once.
"""
