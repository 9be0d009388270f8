"""The messages of OTLP for traces, as Google's protobuf makes them of their definition.

`opentelemetry-proto` cannot be imported beside `xds-protos`, which brings an older half of it: so
what we use of `trace.proto`, `common.proto` and `resource.proto` (OTLP 1.5) is declared here.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "otlp"
_TYPES = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "fixed64": descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64,
    "fixed32": descriptor_pb2.FieldDescriptorProto.TYPE_FIXED32,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
}
_MESSAGES = {
    "AnyValue": "string string_value=1 ? bool bool_value=2 ? int64 int_value=3 ?"
    " double double_value=4 ? ArrayValue array_value=5 ?",
    "ArrayValue": "AnyValue values=1 *",
    "KeyValue": "string key=1 . AnyValue value=2 .",
    "InstrumentationScope": "string name=1 . string version=2 .",
    "Resource": "KeyValue attributes=1 *",
    "Status": "string message=2 . int32 code=3 .",
    "Link": "bytes trace_id=1 . bytes span_id=2 . string trace_state=3 .",
    "Span": "bytes trace_id=1 . bytes span_id=2 . string trace_state=3 . bytes parent_span_id=4 ."
    " string name=5 . int32 kind=6 . fixed64 start_time_unix_nano=7 ."
    " fixed64 end_time_unix_nano=8 . KeyValue attributes=9 * Link links=13 *"
    " Status status=15 . fixed32 flags=16 .",
    "ScopeSpans": "InstrumentationScope scope=1 . Span spans=2 *",
    "ResourceSpans": "Resource resource=1 . ScopeSpans scope_spans=2 *",
    "ExportTraceServiceRequest": "ResourceSpans resource_spans=1 *",
    "PartialSuccess": "int64 rejected_spans=1 . string error_message=2 .",
    "ExportTraceServiceResponse": "PartialSuccess partial_success=1 .",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="otlp.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        words = iter(fields.split())
        for kind, declared, manner in zip(words, words, words, strict=True):
            field_name, number = declared.split("=")
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if manner == "*" else field.LABEL_OPTIONAL
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            if manner == "?":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                field.oneof_index = 0
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


ExportTraceServiceRequest: Any = _class("ExportTraceServiceRequest")
ExportTraceServiceResponse: Any = _class("ExportTraceServiceResponse")
