#!/usr/bin/env python3
"""Tells which loaded cells look different from the same cell before loading. Needs numpy and opencv-python-headless.

    before_after.py [--pictures DIR] [--save DIR]

Lays each loaded picture (NAME_Deg1.png, NAME_Deg2.png) over the picture of the same cell before loading
(NAME_Init.png), by a homography and turned by half where that fits better, and takes the logarithm of the
ratio of their smoothed grey levels, slow shading removed. What is no crack, no dead area and no new fault
cancels out. Prints the share of the cell (its outline and the bus bars left out) whose grey level differs by
more than a tenth, and with --save writes before, after and difference side by side.
"""
import argparse
import pathlib

import cv2
import numpy as np

SIDE = 640
MARGIN = 31
CHANGED = 0.1

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
default = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/pvcracks-el"
arguments.add_argument("--pictures", type=pathlib.Path, default=default)
arguments.add_argument("--save", type=pathlib.Path, help="folder for the pictures")
told = arguments.parse_args()


def read(path):
    return cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def flat(picture):
    shading = cv2.GaussianBlur(picture, (0, 0), 25)
    return (picture - shading) / (shading + 10)


def laid_over(before, after):
    """`after` in the frame of `before`, or as it is where nothing in it can be found again."""
    best = (-1.0, after)
    for turned in (after, cv2.rotate(after, cv2.ROTATE_180)):
        try:
            start = np.eye(3, dtype=np.float32)
            fit, warp = cv2.findTransformECC(flat(before), flat(turned), start, cv2.MOTION_HOMOGRAPHY, (3, 300, 1e-7), None, 3)
        except cv2.error:
            continue
        if fit > best[0]:
            flags = cv2.INTER_CUBIC + cv2.WARP_INVERSE_MAP
            best = (fit, cv2.warpPerspective(turned, warp, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    return best[1]


def spread(picture):
    dark, bright = np.percentile(picture, (1, 99.5))
    return np.clip((picture - dark) / (bright - dark) * 255, 0, 255)


for before_path in sorted(told.pictures.glob("*_Init.png")):
    before = read(before_path)
    # Registration is never exact: nothing within a few pixels of an outline or a bus bar counts.
    silicon = (cv2.GaussianBlur(before, (0, 0), 2) > 0.5 * np.median(before)).astype(np.uint8)
    inside = cv2.erode(silicon, np.ones((MARGIN, MARGIN)), borderValue=0) > 0
    for load in ("Deg1", "Deg2"):
        after = laid_over(before, read(before_path.with_name(before_path.name.replace("Init", load))))
        smooth = [np.log(cv2.GaussianBlur(picture, (0, 0), 2) + 10) for picture in (after, before)]
        ratio = smooth[0] - smooth[1]
        ratio -= cv2.GaussianBlur(ratio, (0, 0), 15)
        share = np.mean(np.abs(ratio[inside]) > CHANGED)
        print(f"{before_path.name.replace('Init', load):24} {100 * share:6.2f} %")
        if told.save:
            told.save.mkdir(parents=True, exist_ok=True)
            shown = np.hstack([spread(before), spread(after), np.clip(128 + 512 * ratio, 0, 255)])
            cv2.imwrite(str(told.save / before_path.name.replace("Init", load)), shown.astype(np.uint8))
