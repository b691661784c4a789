"""The benchmark of both shoes, on synthetic people and untrained networks."""

import re

import cv2
import numpy as np
import pytest

from benchmarks import shoes
from portrait_tf.data.synthetic.writer import write_synthetic
from portrait_tf.weights import save_weights
