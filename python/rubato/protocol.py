"""The messages and calls of proto/rubato/v1.

They are made from a descriptor set, not from generated Python: that does not depend on the versions
of protoc and of the protobuf library, and nothing generated lies in the tree. An installed package
carries the set; in a checkout it is compiled when this module is loaded, in some milliseconds.
"""
import functools
import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from . import compile_protocol

PACKAGE = "rubato.v1"
# What this package speaks.
PROTOCOL_FIRST = PROTOCOL_LAST = 1


def _load_pool() -> descriptor_pool.DescriptorPool:
    installed = pathlib.Path(__file__).with_name(compile_protocol.INSTALLED_SET)
    described = (installed.read_bytes() if installed.exists()
                 else compile_protocol.compile_protocol())
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_pool = _load_pool()
if hasattr(message_factory, "GetMessageClass"):
    _message_class = message_factory.GetMessageClass
else:  # protobuf before 4.22
    _message_class = message_factory.MessageFactory(_pool).GetPrototype


@functools.cache
def message(name: str):
    """The class of the message rubato.v1.NAME."""
    return _message_class(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def stub(channel, service: str, method: str):
    """A callable for one method over a grpc.Channel; its kind is as the protocol says."""
    described = _pool.FindServiceByName(f"{PACKAGE}.{service}").FindMethodByName(method)
    kind = (f"{'stream' if described.client_streaming else 'unary'}_"
            f"{'stream' if described.server_streaming else 'unary'}")
    return getattr(channel, kind)(
        f"/{PACKAGE}.{service}/{method}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=_message_class(described.output_type).FromString)
