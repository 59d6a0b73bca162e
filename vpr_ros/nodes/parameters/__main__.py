"""`python3 -m vpr_ros.nodes.parameters yaml vpr > config/vpr.yaml`; also markdown, and recorder."""

import sys

from vpr_ros.runtime.parameters.documents import markdown, yaml
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS


def main(arguments: list[str]) -> int:
    """Prints a table; returns the exit code."""
    tables, writers = {"vpr": VPR_PARAMETERS, "recorder": RECORDER_PARAMETERS}, {"yaml": yaml, "markdown": markdown}
    if len(arguments) != 2 or arguments[0] not in writers or arguments[1] not in tables:
        print("usage: python3 -m vpr_ros.nodes.parameters yaml|markdown vpr|recorder", file=sys.stderr)
        return 2
    print(writers[arguments[0]](tables[arguments[1]]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
