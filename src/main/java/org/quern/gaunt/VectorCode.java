package org.quern.gaunt;

import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.function.IntConsumer;
import org.quern.tensor.DType;

/**
 * Writes the body of one method of vector code: loads and stores at constant distances from a few
 * addresses, multiply-adds between local variables, counted loops.
 *
 * <p>The compiler inlines the Vector API only while a method is small; beyond some hundred and
 * fifty operations it gives up and allocates an object for every vector. Methods of vector code are
 * therefore kept below {@link #MAX_COST}, and the caller must keep them from being inlined into one
 * another, which {@link #finish} sees to.
 */
final class VectorCode {
  /**
   * Highest cost of a method: vector operations, of which loads and stores count twice. The first
   * compiler gives up on methods not much larger, and then the second never sees them.
   */
  static final int MAX_COST = 160;

  /** Cost of a load or a store. */
  static final int MEMORY = 2;

  /** No memory lies as far as this; lets the compiler drop checks of addresses. */
  static final long FAR = 1L << 60;

  /** Rows of operands are no further apart than this. */
  static final long FAR_STEP = 1L << 40;

  /** A method of more bytes than this is never inlined where it is called often. */
  private static final int INLINED_BYTES = 325;

  private static final ClassDesc VECTOR = ClassDesc.of("jdk.incubator.vector.Vector");
  private static final ClassDesc SPECIES = ClassDesc.of("jdk.incubator.vector.VectorSpecies");
  private static final ClassDesc SEGMENT = ClassDesc.of("java.lang.foreign.MemorySegment");
  private static final ClassDesc ORDER = ClassDesc.of("java.nio.ByteOrder");
  private static final ClassDesc VIEWS = ClassDesc.of("org.quern.runtime.NativeViews");
  private static final ClassDesc OBJECTS = ClassDesc.of("java.util.Objects");
  private static final ClassDesc CONSTANTS = ClassDesc.of("org.quern.gaunt.VectorTile");

  private final CodeBuilder code;
  private final ClassDesc vector;
  private final String species;
  private final TypeKind element;
  private final ClassDesc elementDesc;
  private int bytes;

  VectorCode(CodeBuilder code, DType type) {
    this.code = code;
    boolean single = type == DType.F32;
    vector = ClassDesc.of("jdk.incubator.vector." + (single ? "FloatVector" : "DoubleVector"));
    species = single ? "F32" : "F64";
    element = single ? TypeKind.FLOAT : TypeKind.DOUBLE;
    elementDesc = single ? ConstantDescs.CD_float : ConstantDescs.CD_double;
  }

  /** An empty loop of as many turns as a parameter says. */
  void spin(int turns) {
    int counter = code.allocateLocal(TypeKind.INT);
    Label again = code.newLabel();
    Label end = code.newLabel();
    code.loadConstant(0).istore(counter);
    code.labelBinding(again).iload(counter).iload(turns).if_icmpge(end);
    code.iinc(counter, 1).goto_(again).labelBinding(end);
    bytes += 14;
  }

  /** Replaces a segment in a parameter by the one in which the kernel addresses it. */
  void base(int segment) {
    code.aload(segment)
        .invokestatic(VIEWS, "base", MethodTypeDesc.of(SEGMENT, SEGMENT))
        .astore(segment);
    bytes += 5;
  }

  /** Tells the compiler that the number in a parameter is from 0 to {@code limit - 1}. */
  void bound(int number, long limit) {
    code.lload(number)
        .loadConstant(limit)
        .invokestatic(
            OBJECTS,
            "checkIndex",
            MethodTypeDesc.of(ConstantDescs.CD_long, ConstantDescs.CD_long, ConstantDescs.CD_long))
        .lstore(number);
    bytes += 10;
  }

  /** A new local for a vector. */
  int local() {
    return code.allocateLocal(TypeKind.REFERENCE);
  }

  /** {@code address = at + counter * stride + offset}, into a given local. */
  void address(int address, int at, int counter, long stride, long offset) {
    code.lload(at)
        .iload(counter)
        .i2l()
        .loadConstant(stride)
        .lmul()
        .ladd()
        .loadConstant(offset)
        .ladd()
        .lstore(address);
    bytes += 17;
  }

  /** A new local for a number. */
  int number() {
    return code.allocateLocal(TypeKind.LONG);
  }

  /** The vector at {@code at + offset}, into a new local. */
  int load(int segment, int at, long offset) {
    int target = local();
    code.getstatic(CONSTANTS, species, SPECIES);
    code.aload(segment);
    sum(at, offset);
    code.getstatic(CONSTANTS, "ORDER", ORDER)
        .invokestatic(
            vector,
            "fromMemorySegment",
            MethodTypeDesc.of(vector, SPECIES, SEGMENT, ConstantDescs.CD_long, ORDER))
        .astore(target);
    bytes += 14;
    return target;
  }

  /** The vector at {@code at + factor * step}, into a new local. */
  int load(int segment, int at, int step, int factor) {
    int target = local();
    code.getstatic(CONSTANTS, species, SPECIES);
    code.aload(segment);
    product(at, step, factor);
    code.getstatic(CONSTANTS, "ORDER", ORDER)
        .invokestatic(
            vector,
            "fromMemorySegment",
            MethodTypeDesc.of(vector, SPECIES, SEGMENT, ConstantDescs.CD_long, ORDER))
        .astore(target);
    bytes += 18;
    return target;
  }

  /** Stores a local at {@code at + offset}. */
  void store(int source, int segment, int at, long offset) {
    code.aload(source).aload(segment);
    sum(at, offset);
    store();
  }

  /** Stores a local at {@code at + factor * step}. */
  void store(int source, int segment, int at, int step, int factor) {
    code.aload(source).aload(segment);
    product(at, step, factor);
    store();
  }

  private void store() {
    code.getstatic(CONSTANTS, "ORDER", ORDER)
        .invokevirtual(
            vector,
            "intoMemorySegment",
            MethodTypeDesc.of(ConstantDescs.CD_void, SEGMENT, ConstantDescs.CD_long, ORDER));
    bytes += 16;
  }

  private void sum(int at, long offset) {
    code.lload(at);
    if (offset != 0) {
      code.loadConstant(offset).ladd();
    }
  }

  private void product(int at, int step, int factor) {
    code.lload(at);
    if (factor != 0) {
      code.lload(step).loadConstant((long) factor).lmul().ladd();
    }
  }

  /** All lanes {@code table[counter * stride + index]}, into a new local; no counter where < 0. */
  int broadcast(int table, int counter, int stride, int index) {
    int target = local();
    code.getstatic(CONSTANTS, species, SPECIES).aload(table);
    if (counter < 0) {
      code.loadConstant(index);
    } else {
      code.iload(counter).loadConstant(stride).imul().loadConstant(index).iadd();
    }
    code.arrayLoad(element)
        .invokestatic(vector, "broadcast", MethodTypeDesc.of(vector, SPECIES, elementDesc))
        .astore(target);
    bytes += 18;
    return target;
  }

  /** A zero vector, into a new local. */
  int zero() {
    int target = local();
    code.getstatic(CONSTANTS, species, SPECIES)
        .invokestatic(vector, "zero", MethodTypeDesc.of(vector, SPECIES))
        .astore(target);
    bytes += 8;
    return target;
  }

  /** {@code target = a * b}. */
  void multiply(int target, int a, int b) {
    binary("mul", target, a, b);
  }

  /** {@code target = a + b}. */
  void add(int target, int a, int b) {
    binary("add", target, a, b);
  }

  /** {@code target = a - b}. */
  void subtract(int target, int a, int b) {
    binary("sub", target, a, b);
  }

  private void binary(String name, int target, int a, int b) {
    code.aload(a)
        .aload(b)
        .invokevirtual(vector, name, MethodTypeDesc.of(vector, VECTOR))
        .astore(target);
    bytes += 8;
  }

  /** {@code target = a * b + c}. */
  void multiplyAdd(int target, int a, int b, int c) {
    code.aload(a)
        .aload(b)
        .aload(c)
        .invokevirtual(vector, "fma", MethodTypeDesc.of(vector, VECTOR, VECTOR))
        .astore(target);
    bytes += 10;
  }

  /**
   * Runs {@code body}, given the local of a counter, for counters from {@code from} below {@code
   * to}.
   */
  void loop(int from, int to, IntConsumer body) {
    int counter = code.allocateLocal(TypeKind.INT);
    Label again = code.newLabel();
    Label end = code.newLabel();
    code.loadConstant(from).istore(counter);
    code.labelBinding(again).iload(counter).loadConstant(to).if_icmpge(end);
    body.accept(counter);
    code.iinc(counter, 1).goto_(again).labelBinding(end);
    bytes += 16;
  }

  /** Returns, and makes the method too long to be inlined. */
  void finish() {
    for (int i = bytes / 2; i <= INLINED_BYTES; i++) {
      code.nop();
    }
    code.return_();
  }
}
