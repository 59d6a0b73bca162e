"""The Oxford RobotCar data set."""
