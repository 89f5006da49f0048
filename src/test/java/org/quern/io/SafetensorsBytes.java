package org.quern.io;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.SplittableRandom;

/** Safetensors files as bytes, built without the code under test. */
final class SafetensorsBytes {
  private SafetensorsBytes() {}

  /** A file of this JSON and as many bytes of data, counting up. */
  static byte[] file(String json, int dataSize) {
    byte[] data = new byte[dataSize];
    for (int i = 0; i < dataSize; i++) {
      data[i] = (byte) i;
    }
    byte[] header = json.getBytes(StandardCharsets.UTF_8);
    return concat(length(header.length), concat(header, data));
  }

  /** A header length as it stands in a file. */
  static byte[] length(long length) {
    return ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array();
  }

  static byte[] concat(byte[] first, byte[] second) {
    return ByteBuffer.allocate(first.length + second.length).put(first).put(second).array();
  }

  /** A name of characters that JSON must escape, beyond ASCII, and beyond 16 bits. */
  static String randomName(SplittableRandom random) {
    int[] alphabet = {
      'a', '.', '_', '0', ' ', '"', '\\', '/', '\n', '\t', 0, 0x7f, 0xe9, 0x2028, 0x4e2d, 0x1f600
    };
    StringBuilder name = new StringBuilder();
    for (int i = random.nextInt(12); i > 0; i--) {
      name.appendCodePoint(alphabet[random.nextInt(alphabet.length)]);
    }
    return name.toString();
  }
}
