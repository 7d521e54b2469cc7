/** Writes protobuf messages, as far as the OpenAPI v2 document needs: strings, booleans and nested messages. */
export class ProtoWriter {
  readonly #parts: Buffer[] = [];

  string(field: number, value: string): this {
    return value === '' ? this : this.#bytes(field, Buffer.from(value));
  }

  boolean(field: number, value: boolean): this {
    if (value) this.#parts.push(Buffer.concat([varint(field << 3), Buffer.from([1])]));
    return this;
  }

  /** A nested message; an empty one is written too, because it says that the field is there. */
  message(field: number, value: ProtoWriter): this {
    return this.#bytes(field, value.bytes());
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #bytes(field: number, value: Buffer): this {
    this.#parts.push(varint((field << 3) | 2), varint(value.length), value);
    return this;
  }
}

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
  return Buffer.from(out);
}
