"""The programs on top: command line, calibration, validation, figures, report."""
