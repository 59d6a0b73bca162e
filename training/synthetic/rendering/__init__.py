"""From a scene to camera images and LiDAR scans."""
