/** The part of ONNX's protobuf schema that a DLRM needs, with the field numbers of onnx.proto3. */
import protobuf from "protobufjs";

/** Element types of tensors. */
export const ElementType = { float: 1, int64: 7 } as const;
/** Types of attributes. */
export const AttributeType = { int: 2, string: 3, ints: 7 } as const;
/** Where a tensor's data is stored if it is not in the message. */
export const EXTERNAL = 1;

const one = (type: string, id: number) => ({ type, id });
const many = (type: string, id: number) => ({ rule: "repeated", type, id });

const MESSAGES = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      fields: {
        irVersion: one("int64", 1),
        producerName: one("string", 2),
        graph: one("GraphProto", 7),
        opsetImport: many("OperatorSetIdProto", 8),
      },
    },
    OperatorSetIdProto: { fields: { domain: one("string", 1), version: one("int64", 2) } },
    GraphProto: {
      fields: {
        node: many("NodeProto", 1),
        name: one("string", 2),
        initializer: many("TensorProto", 5),
        input: many("ValueInfoProto", 11),
        output: many("ValueInfoProto", 12),
      },
    },
    NodeProto: {
      fields: {
        input: many("string", 1),
        output: many("string", 2),
        opType: one("string", 4),
        attribute: many("AttributeProto", 5),
      },
    },
    AttributeProto: {
      fields: {
        name: one("string", 1),
        i: one("int64", 3),
        s: one("bytes", 4),
        ints: many("int64", 8),
        type: one("int32", 20),
      },
    },
    TensorProto: {
      fields: {
        dims: many("int64", 1),
        dataType: one("int32", 2),
        name: one("string", 8),
        rawData: one("bytes", 9),
        externalData: many("StringStringEntryProto", 13),
        dataLocation: one("int32", 14),
      },
    },
    StringStringEntryProto: { fields: { key: one("string", 1), value: one("string", 2) } },
    ValueInfoProto: { fields: { name: one("string", 1), type: one("TypeProto", 2) } },
    TypeProto: { fields: { tensorType: one("TypeProtoTensor", 1) } },
    TypeProtoTensor: { fields: { elemType: one("int32", 1), shape: one("TensorShapeProto", 2) } },
    TensorShapeProto: { fields: { dim: many("Dimension", 1) } },
    Dimension: { fields: { dimValue: one("int64", 1), dimParam: one("string", 2) } },
  },
}).lookupType("ModelProto");

/** Bytes of a model, given as plain objects with the fields above. Throws if a field has another type. */
export function encodeModel(model: Record<string, unknown>): Uint8Array {
  const fault = MESSAGES.verify(model);
  if (fault !== null) throw new Error(`the ONNX model is malformed: ${fault}`);
  return MESSAGES.encode(MESSAGES.fromObject(model)).finish();
}
