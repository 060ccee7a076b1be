"""The command line of a clone: `python run.py --help` is its manual. An installed package has `puppet`."""

from realtime.commands.animate import script
from realtime.process.program import CLONE

if __name__ == "__main__":
    script(CLONE)
