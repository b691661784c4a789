"""The stages and the compositing as one callable.

Training previews, evaluation, the command line and the export all go through here.

At the border: photos are RGB `uint8`, masks `uint8`, non-zero = hole. Any height, width
and batch. Inside, everything happens in the graph, at the networks' working size: the
photo is shrunk so that it fits, and what is left of the frame counts as hole, which is
what the networks learned from photos that the border cuts off. The hole alone is
pasted back: known pixels leave bit for bit as they came in.
"""

import pathlib

import keras
import tensorflow as tf

from portrait_tf import geometry
from portrait_tf.compat import ops
from portrait_tf.config import PipelineConfig
from portrait_tf.errors import PortraitError
from portrait_tf.inference.averaging import AveragedParsing
from portrait_tf.inference.detail import add_details
from portrait_tf.inference.engines import check_takes_joints
from portrait_tf.labels import NUM_JOINTS, NUM_LABELS, check_joints
from portrait_tf.models.completion import completion_inputs
from portrait_tf.models.face import FaceNetwork, refine_faces
from portrait_tf.models.parsing import parsing_labels


class Pipeline:
    """The chain of stage 1, stage 2 and, if there is one, the face network.

    Args:
        parsing_network: Stage 1.
        completion_network: Stage 2, of the same size.
        flip: Whether stage 1 is asked about the mirrored photo, too, and both answers
            are averaged.
        scales: Of the working size, at which stage 1 is asked; averaged likewise.
        face_network: Stage 3; it works on crops, so it fits any working size. It runs
            on every photo, with a face or without.
        detail: Whether the hole of a photo that is larger than the working size is
            given the photo's own texture (`portrait_tf.inference.detail`).

    Raises:
        PortraitError: The networks have different working sizes; a scale that is not
            above 0.

    Example:

    ```python
    pipeline = Pipeline.bundled()
    result = pipeline(photos, masks)  # uint8 [B, H, W, 3] and [B, H, W, 1]
    result["completed"], result["parsing"]
    ```
    """

    def __init__(
        self,
        parsing_network: keras.Model,
        completion_network: keras.Model,
        flip: bool = False,
        scales: tuple[float, ...] = (1.0,),
        face_network: FaceNetwork | None = None,
        detail: bool = True,
    ) -> None:
        if parsing_network.size != completion_network.size:
            raise PortraitError(
                f"the parsing network works at {parsing_network.size}, the completion "
                f"network at {completion_network.size}: expected one size"
            )
        self.parsing_network = parsing_network
        self.completion_network = completion_network
        self.face_network = face_network
        self.structure = AveragedParsing(parsing_network, flip, scales)
        self.detail = detail
        self.size = tuple(completion_network.size)

    @classmethod
    def bundled(
        cls, face: bool | None = None, detail: bool | None = None
    ) -> "Pipeline":
        """With the weights that come in the package, and their config's `pipeline`.

        Args:
            face: Whether faces are refined, in place of that config's word.
            detail: Whether detail is added, in place of that config's word.
        """
        from portrait_tf.runs.weights import bundled_pipeline_config, load_bundled

        settings, wants_face = _settings(bundled_pipeline_config(), face, detail)
        networks = [load_bundled(stage) for stage in ("parsing", "completion")]
        if wants_face:
            settings["face_network"] = load_bundled("face")
        return cls(*networks, **settings)

    @classmethod
    def from_run(
        cls,
        run: str | pathlib.Path,
        which: str = "last",
        face: bool | None = None,
        detail: bool | None = None,
    ) -> "Pipeline":
        """With the networks of a trained run, and its config's `pipeline`.

        Args:
            run: Its folder. A face network is taken if the run has one.
            which: `last` or `best`, as `load_run_network` has it.
            face: Whether faces are refined, in place of the config's word.
            detail: Whether detail is added, in place of the config's word.

        Raises:
            PortraitError: A stage is not trained yet, or its file does not fit.
        """
        from portrait_tf.runs.folder import load_run_network, run_config, trained_stages

        networks = [
            load_run_network(run, stage, which) for stage in ("parsing", "completion")
        ]
        settings, wants_face = _settings(run_config(run).pipeline, face, detail)
        if face or (wants_face and "face" in trained_stages(run)):
            settings["face_network"] = load_run_network(run, "face", which)
        return cls(*networks, **settings)

    def at_size(self, size: tuple[int, int]) -> "Pipeline":
        """The same networks at another working size (`runs.weights.at_size`).

        Args:
            size: Height and width; the face network works on crops and stays.

        Raises:
            PortraitError: A network cannot be built at this size.
        """
        from portrait_tf.runs.weights import at_size

        if tuple(size) == self.size:
            return self
        if min(size) < 16:
            raise PortraitError(
                f"expected a working size of at least 16x16, received "
                f"{size[0]}x{size[1]}"
            )
        try:
            networks = [
                at_size(network, size)
                for network in (self.parsing_network, self.completion_network)
            ]
        except ValueError as error:
            raise PortraitError(
                f"no network of working size {size[0]}x{size[1]}: {error}"
            ) from None
        return Pipeline(
            *networks,
            flip=self.structure.flip,
            scales=self.structure.scales,
            face_network=self.face_network,
            detail=self.detail,
        )

    @property
    def keras_models(self) -> list[keras.Model]:
        """Every network with weights of its own: what an export has to track."""
        networks = [*self.structure.networks, self.completion_network]
        networks += [self.face_network] if self.face_network is not None else []
        return list(dict.fromkeys([self.parsing_network, *networks]))

    @property
    def takes_joints(self) -> bool:
        """Whether stage 1 draws the body about joints that a user gives."""
        return getattr(self.parsing_network, "hints", False)

    def networks(
        self,
        image: tf.Tensor,
        mask: tf.Tensor,
        parsing: tf.Tensor | None = None,
        hints: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """All stages at the working size.

        Args:
            image: `float32` `[B, h, w, 3]` in [-1, 1]; the hole is not read.
            mask: `float32` `[B, h, w, 1]`, 1.0 = hole.
            parsing: `[B, h, w, 20]`, in place of stage 1's map (the true one).
            hints: `[B, 16, 3]`, as of `find_structure`.

        Returns:
            `completed` `[B, h, w, 3]` in [-1, 1], known pixels as they were;
            `parsing` `[B, h, w, 20]` probabilities;
            `logits` `[B, h, w, 20]`; `pose` `[B, h/4, w/4, 16]` heatmaps (h/8, w/8 of
            a `JPPNet`), if stage 1 predicts them. With a face network also
            `unrefined` `[B, h, w, 3]`, what `completed` was before it, and
            `face_boxes` `[B, 4]` and `face_found` `[B]` of `refine_faces`.
        """
        image, mask = ops.convert_to_tensor(image), ops.convert_to_tensor(mask)
        masked = image * (1.0 - mask)
        result = dict(self.find(masked, mask, hints))
        if parsing is not None:
            result["parsing"] = parsing
        return result | self.paint(masked, mask, result["parsing"])

    def find(
        self, image: tf.Tensor, mask: tf.Tensor, hints: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Stage 1 at the working size; see a call of `AveragedParsing`."""
        return self.structure(image, mask, hints)

    def paint(
        self, image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Stage 2, and the face network if there is one, at the working size.

        Args:
            image: `float32` `[B, h, w, 3]` in [-1, 1], 0 in the hole.
            mask: `float32` `[B, h, w, 1]`, 1.0 = hole.
            parsing: `[B, h, w, 20]` probabilities.

        Returns:
            `completed`, and with a face network `unrefined`, `face_boxes` and
            `face_found`, as `networks`.
        """
        painted = self.completion_network(
            completion_inputs(self.completion_network, image, parsing, mask),
            training=False,
        )["painted"]
        completed = image + ops.clip(painted, -1.0, 1.0) * mask
        if self.face_network is None:
            return {"completed": completed}
        refined = refine_faces(self.face_network, completed, parsing, mask)
        return {"unrefined": completed} | refined

    def place(self, image: tf.Tensor) -> tuple:
        """Where photos `[B, H, W, 3]` go in the working frame: `place_photos`."""
        return geometry.place_photos(tf.shape(image)[1:3], self.size)

    def shrink(self, image: tf.Tensor, mask: tf.Tensor) -> tuple:
        """Fits photos into the working frame: `portrait_tf.geometry.fit_photos`."""
        return geometry.fit_photos(image, mask, self.size)

    def paste(
        self, image: tf.Tensor, mask: tf.Tensor, result: dict, place: tuple
    ) -> dict[str, tf.Tensor]:
        """Brings the networks' answer to the photo's size and fills the hole with it.

        Args:
            image: `uint8` `[B, H, W, 3]`.
            mask: `uint8` `[B, H, W, 1]`.
            result: Of `networks`.
            place: Of `shrink`.

        Returns:
            `completed` `uint8` `[B, H, W, 3]`, `parsing` `uint8` `[B, H, W, 1]`.
        """
        full = tf.shape(image)[1:3]
        painted = geometry.enlarge_photos(result["completed"], full, place)
        completed = tf.where(mask != 0, painted, image)
        labels = self.enlarge_parsing(result["parsing"], full, place)
        if self.detail:
            times = tf.cast(full[0] / place[2], tf.float32)
            completed = add_details(completed, mask, labels, times)
        return {"completed": completed, "parsing": labels}

    def enlarge_parsing(
        self, parsing: tf.Tensor, full: tf.Tensor, place: tuple
    ) -> tf.Tensor:
        """Probabilities to labels of the photo's size: `geometry.enlarge_maps`."""
        return geometry.enlarge_maps(parsing, full, place, parsing_labels)

    def shrink_parsing(
        self, parsing: tf.Tensor, place: tuple
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Fits label maps into the working frame: `geometry.fit_maps`."""
        return geometry.fit_maps(parsing, self.size, place)

    def __call__(self, image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Completes a batch of photos of one size.

        Args:
            image: `uint8` `[B, H, W, 3]`.
            mask: `uint8` `[B, H, W, 1]`, non-zero = hole.

        Returns:
            `completed` `uint8` `[B, H, W, 3]`; `parsing` `uint8` `[B, H, W, 1]`, LIP's
            labels.
        """
        image, mask = _of_rank_four(image, mask)
        small_image, small_mask, place = self.shrink(image, mask)
        result = self.networks(small_image, small_mask)
        return self.paste(image, mask, result, place)

    def complete_with_parsing(
        self, image: tf.Tensor, mask: tf.Tensor, parsing: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Completes a batch of photos by label maps of the user's.

        Args:
            image: `uint8` `[B, H, W, 3]`.
            mask: `uint8` `[B, H, W, 1]`, non-zero = hole.
            parsing: `uint8` `[B, H, W, 1]`: LIP's labels 0 to 19; any other value: what
                stage 1 predicts there.

        Returns:
            As a call; `parsing` is the map that was painted by.
        """
        image, mask, parsing = _of_rank_four(image, mask, parsing)
        small_image, small_mask, place = self.shrink(image, mask)
        shares, unknown = self.shrink_parsing(parsing, place)
        shares += unknown * tf.cond(
            tf.reduce_any(unknown > 0),
            lambda: self.find(small_image, small_mask)["parsing"],
            lambda: tf.zeros_like(shares),
        )
        result = {"parsing": shares} | self.paint(small_image, small_mask, shares)
        result = self.paste(image, mask, result, place)
        given = parsing < NUM_LABELS
        return result | {"parsing": tf.where(given, parsing, result["parsing"])}

    def complete_with_joints(
        self, image: tf.Tensor, mask: tf.Tensor, joints: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Completes a batch of photos whose people have joints where the user says.

        Args:
            image: `uint8` `[B, H, W, 3]`.
            mask: `uint8` `[B, H, W, 1]`, non-zero = hole.
            joints: `float32` `[B, 16, 3]`, LIP's: x and y in pixels of the photo, which
                they may lie outside of, and 1.0 where the joint is given, 0.0 where
                stage 1 is to find it.

        Returns:
            As a call, and `joints` `[B, 16, 3]` as of `joints`: where stage 1 has all
            of them, the given ones included, in the body that was painted.

        Raises:
            PortraitError: Stage 1 takes no joints; outside a graph also joints that
                `portrait_tf.labels.check_joints` refuses.
        """
        image, mask = _of_rank_four(image, mask)
        small_image, small_mask, place = self.shrink(image, mask)
        full = tf.shape(image)[1:3]
        hints = self.hints(joints, full, place)
        result = self.networks(small_image, small_mask, hints=hints)
        found = self.place_joints(result["pose"], full, place)
        return self.paste(image, mask, result, place) | {"joints": found}

    def hints(self, joints: tf.Tensor, full: tf.Tensor, place: tuple) -> tf.Tensor:
        """A user's joints as `find_structure` takes them.

        Args:
            joints: As of `complete_with_joints`.
            full: Height and width of the photo.
            place: Of `shrink`.

        Returns:
            `[B, 16, 3]`; where no joint is given 0, whatever is there.

        Raises:
            PortraitError: As of `complete_with_joints`.
        """
        check_takes_joints(self.takes_joints)
        if tf.executing_eagerly():
            joints = check_joints(joints)
        joints = tf.ensure_shape(joints, [None, NUM_JOINTS, 3])
        fitted = geometry.joint_parts(
            geometry.fit_joints(joints, full, place), self.size
        )
        return tf.where(joints[..., 2:] > 0, fitted, 0.0)

    def parse(
        self, image: tf.Tensor, mask: tf.Tensor, joints: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Stage 1 alone.

        Args:
            image: `uint8` `[B, H, W, 3]`.
            mask: `uint8` `[B, H, W, 1]`, non-zero = hole; there may be none.
            joints: As of `complete_with_joints`.

        Returns:
            `parsing` `uint8` `[B, H, W, 1]`, LIP's labels, and, if stage 1 predicts a
            pose, `joints` `[B, 16, 3]` as `joints` has them.
        """
        image, mask = _of_rank_four(image, mask)
        small_image, small_mask, place = self.shrink(image, mask)
        full = tf.shape(image)[1:3]
        hints = None if joints is None else self.hints(joints, full, place)
        structure = self.find(small_image, small_mask, hints)
        result = {"parsing": self.enlarge_parsing(structure["parsing"], full, place)}
        if self.parsing_network.pose:
            result["joints"] = self.place_joints(structure["pose"], full, place)
        return result

    def joints(self, image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Stage 1's pose alone; arguments as of `parse`.

        Returns:
            `[B, 16, 3]`: x and y in pixels of the photo, and the heatmap's peak.

        Raises:
            PortraitError: Stage 1 has no pose branch.
        """
        if not self.parsing_network.pose:
            raise PortraitError(
                "no joints: this parsing network was built without its pose branch "
                "(parsing.network.pose)"
            )
        return self.parse(image, mask)["joints"]

    def place_joints(self, pose: tf.Tensor, full: tf.Tensor, place: tuple) -> tf.Tensor:
        """Finds the joints in heatmaps, in pixels of the photo.

        Args:
            pose: Heatmaps of `networks`, with 16 channels.
            full: Height and width of the photo.
            place: Of `shrink`.

        Returns:
            `[B, 16, 3]`, as `joints`.
        """
        joints = geometry.joints_of_parts(self.structure.peaks(pose), self.size)
        return geometry.place_joints(joints, full, place)


def _of_rank_four(image: tf.Tensor, *maps: tf.Tensor) -> list[tf.Tensor]:
    """Checks ranks first of all: a convolution of another one aborts the process."""
    shapes = [[None, None, None, 3], *[[None, None, None, 1]] * len(maps)]
    return [
        tf.ensure_shape(one, shape)
        for one, shape in zip((image, *maps), shapes, strict=True)
    ]


def _settings(
    config: PipelineConfig, face: bool | None, detail: bool | None
) -> tuple[dict, bool]:
    """Arguments of `Pipeline`, and whether faces are refined."""
    settings = dict(config)
    configured = settings.pop("face")
    if detail is not None:
        settings["detail"] = detail
    return settings, configured if face is None else face
