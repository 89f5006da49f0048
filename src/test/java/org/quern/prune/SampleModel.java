package org.quern.prune;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * A small safetensors file of random tensors, built without the code under test; tensors may share
 * their bytes.
 */
public final class SampleModel {
  private record Part(String type, long[] shape, int begin, byte[] data) {}

  private final Random random;
  private final Map<String, Part> parts = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private int size;

  /** An empty file whose values follow from the seed. */
  public SampleModel(long seed) {
    random = new Random(seed);
  }

  /** Adds a string of metadata. */
  public SampleModel metadata(String key, String value) {
    metadata.put(key, value);
    return this;
  }

  /** Adds a tensor of normally distributed values, F32, F16 or BF16, or of random bytes. */
  public SampleModel add(String name, String type, long... shape) {
    int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return add(name, type, values, shape);
  }

  /** Adds a tensor of these values. */
  public SampleModel add(String name, String type, float[] values, long... shape) {
    int width = type.equals("F32") ? 4 : type.endsWith("16") ? 2 : 1;
    ByteBuffer data = ByteBuffer.allocate(values.length * width).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      switch (type) {
        case "F32" -> data.putFloat(value);
        case "F16" -> data.putShort(Float.floatToFloat16(value));
        case "BF16" -> data.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
        default -> data.put((byte) (100 * value));
      }
    }
    parts.put(name, new Part(type, shape, size, data.array()));
    size += data.capacity();
    return this;
  }

  /** Adds a name for the bytes of a tensor that is there. */
  public SampleModel tie(String name, String other) {
    parts.put(name, parts.get(other));
    return this;
  }

  /** Where the bytes of a tensor begin in the file. */
  public int begin(String name) {
    return 8 + header().length + parts.get(name).begin;
  }

  /** The bytes of the file. */
  public byte[] bytes() {
    byte[] header = header();
    ByteBuffer file = ByteBuffer.allocate(8 + header.length + size).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(header.length).put(header);
    parts.values().forEach(part -> file.put(8 + header.length + part.begin, part.data));
    return file.array();
  }

  /** Writes the file and returns its path. */
  public Path write(Path file) throws IOException {
    return Files.write(file, bytes());
  }

  private byte[] header() {
    List<String> fields = new ArrayList<>();
    List<String> strings = new ArrayList<>();
    metadata.forEach((key, value) -> strings.add("\"" + key + "\": \"" + value + "\""));
    fields.add("\"__metadata__\":  {" + String.join(",", strings) + "}");
    parts.forEach((name, part) ->
        fields.add(
            "\""
                + name
                + "\": {\"shape\":"
                + Arrays.toString(part.shape)
                + ",\"dtype\":\""
                + part.type
                + "\",\"data_offsets\":["
                + part.begin
                + ","
                + (part.begin + part.data.length)
                + "]}"));
    return ("{" + String.join(" , ", fields) + " }").getBytes(StandardCharsets.UTF_8);
  }
}
