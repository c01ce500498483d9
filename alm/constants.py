"""Numbers and names that more than one room needs. Needs no torch."""

HEIGHT, WIDTH = 256, 128  # of the network's input, in pixels
UNKNOWN = 2  # a label that counts neither way: not in the loss, not in a ratio, not in a figure
THRESHOLD = 0.5  # of a probability, in the paper's figures

LEVELS = ("3b", "4d", "5b")  # of the published network, fine to coarse; the order of its predictions
STRIDES = {"3b": 8, "4d": 16, "5b": 32}  # level -> pixels of the network's input in one cell of its map
GLOBAL = "main"  # the branch that looks at the whole picture

# Names of the files in a run's directory.
BEST, LAST = "best.pth.tar", "last.pth.tar"
OPTIONS, LOG, METRICS = "options.json", "train.log", "metrics.jsonl"
LATER_OPTIONS = "options.jsonl"  # of the run's later starts, one line each
# Of what is not whole yet, beside its place; a name may have 255 bytes, so only its beginning is kept.
TEMPORARY, KEPT = ".{name}.{unique}.tmp", 50
