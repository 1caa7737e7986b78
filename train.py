"""Train and test a feed-forward network: ``python train.py --wandb_entity myname --wandb_project myprojectname``."""

import sys

from fnn.cli import guarded, train

if __name__ == "__main__":
    sys.exit(guarded(train, sys.argv[1:], "train.py"))
