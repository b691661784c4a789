"""The smallest experiment that still has every part."""

TINY = {
    "name": "tiny",
    "seed": 5,
    "size": [32, 32],
    "augmentation": {
        "mirror": 0, "scale": [1, 1], "shift": 0,
        "brightness": 0, "contrast": 0, "saturation": 0,
    },
    "parsing": {
        "network": {"widths": [8, 16, 16, 24], "blocks": [1, 1], "feature_width": 16},
        "training": {
            "steps": 4, "batch_size": 2, "steps_per_epoch": 2, "validation_photos": 2,
            "optimizer": {"learning_rate": 0.003, "warmup_steps": 2},
        },
    },
    "completion": {
        "network": {"widths": [8, 16, 16], "dilations": [1, 2]},
        "discriminator": {"widths": [8, 16], "local_size": [16, 16]},
        "perceptual": {
            "network": "vgg16", "weights": "random", "layers": {"block1_conv2": 1.0},
        },
        "schedule": {"reconstruction_steps": 2, "critic_steps": 1},
        "training": {
            "steps": 5, "batch_size": 2, "steps_per_epoch": 2, "validation_photos": 2,
            "optimizer": {"learning_rate": 0.003, "warmup_steps": 2},
        },
    },
    "face": {
        "network": {"size": [16, 16], "widths": [8, 16, 16], "blocks": 1},
        "discriminator": {"widths": [8, 16]},
        "schedule": {"reconstruction_steps": 2, "critic_steps": 1},
        "training": {
            "steps": 5, "batch_size": 2, "steps_per_epoch": 2, "validation_photos": 2,
            "optimizer": {"learning_rate": 0.003, "warmup_steps": 2},
        },
    },
}  # fmt: skip
