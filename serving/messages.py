"""Classes of protobuf messages from a short text: no generated code, no TensorFlow.

A line is `NAME: 1 string field, 2 repeated int64 other, 3 map MESSAGE third`. The
messages are in a descriptor pool of their own, so that TensorFlow's own can be in the
same process, of whatever version.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_Field = descriptor_pb2.FieldDescriptorProto


def build_messages(text: str, package: str = "") -> dict[str, type[Message]]:
    """A class for each message of `text`, by name; long lines may end in a comma."""
    prefix = f"{package}." if package else ""
    file = descriptor_pb2.FileDescriptorProto(
        name="portrait_tf", package=package, syntax="proto3"
    )
    for line in text.strip().replace(",\n", ",").splitlines():
        message_name, _, fields = line.partition(": ")
        message = file.message_type.add(name=message_name)
        for number, *label, kind, name in map(str.split, fields.split(",")):
            field = message.field.add(name=name, number=int(number))
            field.label = _Field.LABEL_REPEATED if label else _Field.LABEL_OPTIONAL
            if label == ["map"]:
                entry = message.nested_type.add(
                    name=name.title().replace("_", "") + "Entry"
                )
                entry.options.map_entry = True
                for at, (part, of) in enumerate(
                    (("key", "string"), ("value", kind)), 1
                ):
                    _set_type(
                        entry.field.add(name=part, number=at, label=1), of, prefix
                    )
                kind = f"{message_name}.{entry.name}"
            _set_type(field, kind, prefix)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(prefix + message.name)
        )
        for message in file.message_type
    }


def _set_type(field: _Field, kind: str, prefix: str) -> None:
    if kind[0].islower():
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{prefix}{kind}"
