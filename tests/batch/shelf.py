"""An object store, as Beam sees gs:// or s3://: names without folders, on this disk."""

import io
import pathlib

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

SCHEME = "shelf"


class ShelfFileSystem(FileSystem):
    """`shelf:///folder/name` is the file of that path; Beam finds this class itself."""

    @classmethod
    def scheme(cls):
        return SCHEME

    def _path(self, url):
        assert url.startswith(f"{SCHEME}://"), url
        return pathlib.Path(url.removeprefix(f"{SCHEME}://"))

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        prefix = str(self._path(dir_or_prefix))
        for path in self._path(dir_or_prefix).parent.rglob("*"):
            if path.is_file() and str(path).startswith(prefix):
                yield self.metadata(f"{SCHEME}://{path}")

    def create(self, path, mime_type=None, compression_type=None):
        target = self._path(path)

        class Upload(io.BytesIO):
            """Is there as a whole, once it is closed."""

            def close(self):
                if not self.closed:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(self.getvalue())
                super().close()

        return Upload()

    def open(self, path, mime_type=None, compression_type=None):
        if not self._path(path).is_file():
            # As the clients of object stores say it: by no error of Python's own.
            raise BeamIOError("Open failed", {path: RuntimeError("404 not found")})
        return io.BytesIO(self._path(path).read_bytes())

    def copy(self, source_file_names, destination_file_names):
        for source, target in zip(
            source_file_names, destination_file_names, strict=True
        ):
            self._path(target).parent.mkdir(parents=True, exist_ok=True)
            self._path(target).write_bytes(self._path(source).read_bytes())

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        for source in source_file_names:
            self._path(source).unlink()

    def exists(self, path):
        return self._path(path).is_file()

    def size(self, path):
        return self._path(path).stat().st_size

    def last_updated(self, path):
        return self._path(path).stat().st_mtime

    def checksum(self, path):
        return str(self.size(path))

    def metadata(self, path):
        if not self.exists(path):
            raise BeamIOError("no such object", {path: None})
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths):
        for path in paths:
            for found in self.match([path])[0].metadata_list:
                self._path(found.path).unlink()
