package org.quern.io;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The part of Python's pickle format, protocol 2, in which {@code torch.save} describes a
 * dictionary of tensors. It only describes: nothing is called by name, and whatever is not needed
 * for such a dictionary is refused.
 *
 * @see <a href="https://docs.python.org/3/library/pickletools.html">The opcodes of pickle</a>
 */
final class TorchPickle {
  private static final Object MARK = new Object();

  private final String source;
  private final ByteBuffer in;
  private final List<Object> stack = new ArrayList<>();
  private final Map<Integer, Object> memo = new HashMap<>();

  /** A class or function by name. */
  private record Global(String name) {}

  /** Elements in an entry of the archive. */
  private record Storage(String type, String key) {}

  /**
   * A tensor in a storage.
   *
   * @param storageType as in {@code torch.HalfStorage}
   * @param key name of the storage in the archive
   * @param offset elements before the first
   * @param shape extents
   * @param strides elements from one index to the next of each dimension
   */
  record TensorEntry(
      String storageType, String key, long offset, List<Long> shape, List<Long> strides) {}

  private TorchPickle(String source, byte[] bytes) {
    this.source = source;
    this.in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * The dictionary of tensors.
   *
   * @param source the file's name for error messages
   */
  static Map<String, TensorEntry> read(String source, byte[] bytes) throws FormatException {
    TorchPickle pickle = new TorchPickle(source, bytes);
    try {
      return pickle.tensors(pickle.run());
    } catch (BufferUnderflowException | IndexOutOfBoundsException e) {
      throw pickle.problem("expected a whole pickle, found its end or an operand missing");
    } catch (ClassCastException e) {
      throw pickle.problem("expected a dictionary of tensors, found operands of other kinds");
    }
  }

  private Map<String, TensorEntry> tensors(Object value) throws FormatException {
    if (!(value instanceof Map<?, ?> map)) {
      throw problem("expected a dictionary of tensors, found another object");
    }
    Map<String, TensorEntry> tensors = new LinkedHashMap<>();
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      String name = (String) entry.getKey();
      if (!(entry.getValue() instanceof TensorEntry tensor)) {
        throw problem("expected tensors by name, found another object under '" + name + "'");
      }
      tensors.put(name, tensor);
    }
    return tensors;
  }

  private Object run() throws FormatException {
    while (true) {
      int opcode = in.get() & 0xff;
      switch (opcode) {
        case 0x80 -> requireProtocol(in.get());
        case '.' -> {
          return pop();
        }
        case '(' -> stack.add(MARK);
        case '}' -> stack.add(new LinkedHashMap<>());
        case ')' -> stack.add(List.of());
        case 't' -> stack.add(List.copyOf(popToMark()));
        case 0x85 -> stack.add(popTuple(1));
        case 0x86 -> stack.add(popTuple(2));
        case 0x87 -> stack.add(popTuple(3));
        case 0x88 -> stack.add(true);
        case 0x89 -> stack.add(false);
        case 'J' -> stack.add((long) in.getInt());
        case 'K' -> stack.add((long) (in.get() & 0xff));
        case 'M' -> stack.add((long) (in.getShort() & 0xffff));
        case 0x8a -> stack.add(shortInteger());
        case 'X' -> stack.add(text(in.getInt()));
        case 'c' -> stack.add(new Global(line() + "." + line()));
        case 'q' -> memo.put(in.get() & 0xff, top());
        case 'r' -> memo.put(in.getInt(), top());
        case 'h' -> stack.add(remembered(in.get() & 0xff));
        case 'j' -> stack.add(remembered(in.getInt()));
        case 'Q' -> stack.add(storage((List<?>) pop()));
        case 'R' -> reduce();
        case 's' -> {
          Object value = pop();
          Object key = pop();
          put(List.of(key, value));
        }
        case 'u' -> put(popToMark());
        default ->
            throw problem(
                String.format("expected a dictionary of tensors, found opcode 0x%02x", opcode));
      }
    }
  }

  private void requireProtocol(int protocol) throws FormatException {
    if (protocol != 2) {
      throw problem("expected pickle protocol 2, got " + protocol);
    }
  }

  private long shortInteger() throws FormatException {
    int length = in.get() & 0xff;
    if (length > Long.BYTES) {
      throw problem("expected integers of 8 bytes at most, got " + length);
    }
    long value = 0;
    for (int i = 0; i < length; i++) {
      long part = i == length - 1 ? in.get() : in.get() & 0xff;
      value |= part << i * Byte.SIZE;
    }
    return value;
  }

  private String text(int length) {
    if (length < 0 || length > in.remaining()) {
      throw new BufferUnderflowException();
    }
    byte[] bytes = new byte[length];
    in.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private String line() {
    StringBuilder line = new StringBuilder();
    for (char c = (char) (in.get() & 0xff); c != '\n'; c = (char) (in.get() & 0xff)) {
      line.append(c);
    }
    return line.toString();
  }

  private Object top() {
    return stack.get(stack.size() - 1);
  }

  private Object pop() {
    return stack.remove(stack.size() - 1);
  }

  private List<Object> popToMark() {
    int mark = stack.lastIndexOf(MARK);
    List<Object> tail = stack.subList(mark, stack.size());
    List<Object> values = new ArrayList<>(tail.subList(1, tail.size()));
    tail.clear();
    return values;
  }

  private List<Object> popTuple(int size) {
    List<Object> tail = stack.subList(stack.size() - size, stack.size());
    List<Object> values = Collections.unmodifiableList(new ArrayList<>(tail));
    tail.clear();
    return values;
  }

  private Object remembered(int index) throws FormatException {
    Object value = memo.get(index);
    if (value == null) {
      throw problem("expected something stored under " + index + ", found nothing");
    }
    return value;
  }

  /** {@code ('storage', type, key, device, elements)}. */
  private static Storage storage(List<?> id) {
    return new Storage(((Global) id.get(1)).name, (String) id.get(2));
  }

  private void reduce() throws FormatException {
    List<?> arguments = (List<?>) pop();
    String name = ((Global) pop()).name;
    switch (name) {
      case "torch._utils._rebuild_tensor_v2" -> {
        Storage storage = (Storage) arguments.get(0);
        stack.add(
            new TensorEntry(
                storage.type,
                storage.key,
                (Long) arguments.get(1),
                extents(arguments.get(2)),
                extents(arguments.get(3))));
      }
      case "collections.OrderedDict" -> stack.add(new LinkedHashMap<>());
      default -> throw problem("expected tensors and dictionaries, found " + name);
    }
  }

  private static List<Long> extents(Object tuple) {
    return ((List<?>) tuple).stream().map(extent -> (Long) extent).toList();
  }

  @SuppressWarnings("unchecked") // No other maps are ever pushed, and keys are cast below.
  private void put(List<Object> pairs) {
    Map<String, Object> map = (Map<String, Object>) top();
    for (int i = 0; i < pairs.size(); i += 2) {
      map.put((String) pairs.get(i), pairs.get(i + 1));
    }
  }

  private FormatException problem(String problem) {
    return new FormatException(source, "data.pkl at byte " + in.position() + ": " + problem);
  }
}
