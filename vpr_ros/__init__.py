"""Visual place recognition for ROS 2: the ROS-free core, the nodes and the command line.

`Localizer` and `read_image` are imported when they are first asked for: `import vpr_ros` loads nothing else.
"""

from typing import TYPE_CHECKING

from vpr_ros.lazy import lazily

if TYPE_CHECKING:
    from vpr_ros.runtime.library import Localizer, read_image

__version__ = "0.1.0"
__all__ = ["Localizer", "__version__", "read_image"]

__getattr__ = lazily("vpr_ros", {"runtime.library": ("Localizer", "read_image")})
