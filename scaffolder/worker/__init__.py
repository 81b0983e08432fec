"""What runs inside the project's own environment, next to Olive.

The command starts this folder by path with the project's interpreter. Nothing here imports the rest of
`scaffolder`, which need not be installed there. One job comes in on standard input as a line of JSON;
events go out on standard output, one line of JSON each; everything else that is printed goes to the log.
"""
