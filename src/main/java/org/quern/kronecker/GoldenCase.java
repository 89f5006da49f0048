package org.quern.kronecker;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A recorded case: a safetensors file whose metadata hold a JSON object {@code case} that says of
 * which kind it is. Whatever is missing or has another shape is a {@link FormatException} that
 * names the file and the key.
 */
final class GoldenCase implements Closeable {
  private static final String CASE = "case";

  private final String name;
  private final SafetensorsFile file;
  private final JsonObject description;

  private GoldenCase(String name, SafetensorsFile file, JsonObject description) {
    this.name = name;
    this.file = file;
    this.description = description;
  }

  /** The case in a file; null where it describes none of a kind. */
  static @Nullable GoldenCase open(Path path) throws IOException {
    SafetensorsFile file = SafetensorsFile.open(path);
    try {
      String text = file.metadata().get(CASE);
      if (text != null
          && Json.read(path + ": metadata \"" + CASE + '"', text) instanceof JsonObject object
          && object.has("kind")) {
        return new GoldenCase(path.getFileName().toString(), file, object);
      }
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
    file.close();
    return null;
  }

  /** Name of the file. */
  String name() {
    return name;
  }

  String kind() throws FormatException {
    return text("kind");
  }

  /** An error at a key of the description. */
  FormatException error(String key, String expected, @Nullable Object got) {
    return new FormatException(
        file.path().toString(),
        CASE + ": " + key + ": expected " + expected + ", got " + (got == null ? "none" : got));
  }

  boolean has(String key) {
    return description.has(key);
  }

  String text(String key) throws FormatException {
    return text(key, description.get(key));
  }

  String text(String key, @Nullable JsonElement element) throws FormatException {
    if (element instanceof JsonPrimitive value && value.isString()) {
      return value.getAsString();
    }
    throw error(key, "a string", element);
  }

  double number(String key) throws FormatException {
    return number(key, description.get(key));
  }

  double number(String key, double otherwise) throws FormatException {
    return has(key) ? number(key) : otherwise;
  }

  double number(String key, @Nullable JsonElement element) throws FormatException {
    if (element instanceof JsonPrimitive value && value.isNumber()) {
      return value.getAsDouble();
    }
    throw error(key, "a number", element);
  }

  int count(String key) throws FormatException {
    return count(key, description.get(key));
  }

  int count(String key, @Nullable JsonElement element) throws FormatException {
    double value = number(key, element);
    if (value < 0 || value > Integer.MAX_VALUE || value != Math.rint(value)) {
      throw error(key, "a whole number below 2^31", element);
    }
    return (int) value;
  }

  boolean flag(String key, boolean otherwise) throws FormatException {
    return has(key) ? flag(key, description.get(key)) : otherwise;
  }

  boolean flag(String key, @Nullable JsonElement element) throws FormatException {
    if (element instanceof JsonPrimitive value && value.isBoolean()) {
      return value.getAsBoolean();
    }
    throw error(key, "true or false", element);
  }

  JsonArray list(String key) throws FormatException {
    if (description.get(key) instanceof JsonArray array) {
      return array;
    }
    throw error(key, "an array", description.get(key));
  }

  int[] counts(String key) throws FormatException {
    JsonArray array = list(key);
    int[] counts = new int[array.size()];
    for (int i = 0; i < counts.length; i++) {
      counts[i] = count(key, array.get(i));
    }
    return counts;
  }

  /** The part of the description under a key, as a case that shares the tensors. */
  GoldenCase part(String key) throws FormatException {
    return part(key, description.get(key));
  }

  GoldenCase part(String key, @Nullable JsonElement element) throws FormatException {
    if (element instanceof JsonObject object) {
      return new GoldenCase(name, file, object);
    }
    throw error(key, "an object", element);
  }

  Set<String> keys() {
    return description.keySet();
  }

  /** Names of the tensors, sorted. */
  Set<String> tensors() {
    Set<String> names = new TreeSet<>();
    file.entries().forEach(entry -> names.add(entry.name()));
    return names;
  }

  /** True where the name of a tensor matches a regular expression. */
  boolean anyTensor(String expression) {
    Pattern pattern = Pattern.compile(expression);
    return file.entries().stream().anyMatch(entry -> pattern.matcher(entry.name()).matches());
  }

  boolean hasTensor(String key) {
    return file.header().find(key) != null;
  }

  long[] shape(String key) throws FormatException {
    return file.entry(key).shape();
  }

  /** A square matrix. */
  Tensor square(Arena arena, String key) throws IOException {
    long[] shape = shape(key);
    long d = shape.length == 0 ? 1 : shape[0];
    return load(arena, key, d, d);
  }

  /** Checks the shape of a tensor; an extent of -1 stands for any. */
  void requireShape(String key, long... shape) throws FormatException {
    file.requireShape(key, shape);
  }

  /**
   * A tensor.
   *
   * @param shape the shape that it must have; an extent of -1 stands for any
   */
  Tensor load(Arena arena, String key, long... shape) throws IOException {
    requireShape(key, shape);
    Tensor tensor = file.load(key, arena);
    switch (tensor.type()) {
      case F64, F32, F16, BF16 -> {
        return tensor;
      }
      default ->
          throw new FormatException(
              file.path().toString(),
              "tensor \"" + key + "\": expected F64, F32, F16 or BF16, got " + tensor.type());
    }
  }

  /** A tensor as F32. */
  Tensor floats(Arena arena, String key, long... shape) throws IOException {
    return load(arena, key, shape).to(DType.F32, arena);
  }

  /** A tensor of one element. */
  double scalar(Arena arena, String key) throws IOException {
    return load(arena, key, 1).getDouble(0);
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
