package org.quern.gaunt;

import static java.lang.constant.ConstantDescs.CD_Object;
import static java.lang.constant.ConstantDescs.CD_int;
import static java.lang.constant.ConstantDescs.CD_long;
import static java.lang.constant.ConstantDescs.CD_void;

import java.lang.classfile.ClassBuilder;
import java.lang.classfile.ClassFile;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.classfile.instruction.SwitchCase;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.quern.tensor.DType;

/**
 * Writes and loads a class of vector kernels for one shape.
 *
 * <p>A kernel is a list of parts, which are packed into static methods small enough for the
 * compiler ({@link VectorCode}), and called one after another.
 *
 * <p>Before the second compiler has seen a method, its vectors are objects, and it runs a hundred
 * times slower. The compiler comes after 5000 calls, or after 600 where loops have turned often
 * enough; so every method begins with an empty loop, which the first calls let turn ({@link
 * Warmup}).
 */
final class VectorClass {
  /** Parameters of a method: where the offsets and steps of the three parts of memory are. */
  static final int A = 1;

  static final int A_AT = 2;
  static final int A_STEP = 4;
  static final int B = 6;
  static final int B_AT = 7;
  static final int B_STEP = 9;
  static final int C = 11;
  static final int C_AT = 12;
  static final int C_STEP = 14;

  /** Where the table is. */
  static final int TABLE = 16;

  private static final int SPIN = 0;

  private static final ClassDesc SEGMENT = ClassDesc.of("java.lang.foreign.MemorySegment");
  private static final ClassDesc TILE = ClassDesc.of("org.quern.gaunt.VectorTile");
  private static final ClassDesc SELF = ClassDesc.of("org.quern.gaunt.VectorShapeTile");

  private final DType type;
  private final ClassDesc tableType;
  private final List<Double> table = new ArrayList<>();

  VectorClass(DType type) {
    this.type = type;
    tableType = (type == DType.F32 ? ConstantDescs.CD_float : ConstantDescs.CD_double).arrayType();
  }

  /**
   * A part of a kernel.
   *
   * @param cost what it counts against {@link VectorCode#MAX_COST}
   * @param memory the parts of memory that it uses: {@link #A}, {@link #B}, {@link #C}
   * @param code writes it
   */
  record Part(int cost, Set<Integer> memory, Consumer<VectorCode> code) {}

  /** Decides how often the empty loops of a class turn. Races between threads do no harm. */
  static final class Warmup {
    private static final int CALLS = 3000;
    private static final int TURNS = 12;

    private int calls;

    /** Turns for the next call. */
    int spin() {
      if (calls >= CALLS) {
        return 0;
      }
      calls++;
      return TURNS;
    }
  }

  /** Appends factors to the table, and returns the index of the first. */
  int reserve(double... factors) {
    int at = table.size();
    for (double factor : factors) {
      table.add(factor);
    }
    return at;
  }

  /** The table that the kernels want, valid after {@link #load}. */
  Object table() {
    double[] values = table.stream().mapToDouble(value -> value).toArray();
    if (type == DType.F64) {
      return values;
    }
    float[] rounded = new float[values.length];
    for (int i = 0; i < rounded.length; i++) {
      rounded[i] = (float) values[i];
    }
    return rounded;
  }

  /** Makes the class of these kernels and an instance of it. */
  VectorTile load(List<List<Part>> kernels) {
    byte[] bytes = ClassFile.of().build(SELF, builder -> write(builder, kernels));
    try {
      return (VectorTile)
          MethodHandles.lookup()
              .defineHiddenClass(bytes, true)
              .lookupClass()
              .getDeclaredConstructor()
              .newInstance();
    } catch (IllegalAccessException
        | InstantiationException
        | NoSuchMethodException
        | InvocationTargetException e) {
      throw new IllegalStateException("the written class cannot be made", e);
    }
  }

  private void write(ClassBuilder builder, List<List<Part>> kernels) {
    builder.withFlags(ClassFile.ACC_FINAL);
    builder.withInterfaceSymbols(TILE);
    builder.withMethodBody(
        ConstantDescs.INIT_NAME,
        ConstantDescs.MTD_void,
        0,
        code ->
            code.aload(0)
                .invokespecial(CD_Object, ConstantDescs.INIT_NAME, ConstantDescs.MTD_void)
                .return_());
    List<List<String>> names = new ArrayList<>();
    for (int i = 0; i < kernels.size(); i++) {
      names.add(methods(builder, "kernel" + i, kernels.get(i)));
    }
    builder.withMethodBody(
        "run", runType(CD_Object, true), ClassFile.ACC_PUBLIC, code -> run(code, names));
  }

  private static MethodTypeDesc runType(ClassDesc table, boolean kernel) {
    List<ClassDesc> parameters = new ArrayList<>();
    if (kernel) {
      parameters.add(CD_int);
    }
    parameters.add(CD_int);
    for (int part = 0; part < 3; part++) {
      parameters.addAll(List.of(SEGMENT, CD_long, CD_long));
    }
    parameters.add(table);
    return MethodTypeDesc.of(CD_void, parameters);
  }

  private void run(CodeBuilder code, List<List<String>> kernels) {
    Label end = code.newLabel();
    List<SwitchCase> cases = new ArrayList<>();
    for (int i = 0; i < kernels.size(); i++) {
      cases.add(SwitchCase.of(i, code.newLabel()));
    }
    code.iload(1).tableswitch(0, kernels.size() - 1, end, cases);
    for (int i = 0; i < kernels.size(); i++) {
      code.labelBinding(cases.get(i).target());
      for (String method : kernels.get(i)) {
        // The receiver and the number of the kernel come before what the methods take.
        int shift = 2;
        code.iload(shift + SPIN);
        for (int part : new int[] {A, B, C}) {
          code.aload(shift + part).lload(shift + part + 1).lload(shift + part + 3);
        }
        code.aload(shift + TABLE)
            .checkcast(tableType)
            .invokestatic(SELF, method, runType(tableType, false));
      }
      code.return_();
    }
    code.labelBinding(end).return_();
  }

  private List<String> methods(ClassBuilder builder, String name, List<Part> parts) {
    List<String> names = new ArrayList<>();
    int from = 0;
    while (from < parts.size()) {
      int to = from;
      int cost = 0;
      while (to < parts.size()
          && (to == from || cost + parts.get(to).cost <= VectorCode.MAX_COST)) {
        cost += parts.get(to++).cost;
      }
      List<Part> some = parts.subList(from, to);
      String method = name + "_" + names.size();
      builder.withMethodBody(
          method,
          runType(tableType, false),
          ClassFile.ACC_STATIC,
          body -> {
            VectorCode code = new VectorCode(body, type);
            code.spin(SPIN);
            Set<Integer> memory = new TreeSet<>();
            some.forEach(part -> memory.addAll(part.memory));
            for (int part : memory) {
              code.base(part);
              code.bound(part + 1, VectorCode.FAR);
              code.bound(part + 3, VectorCode.FAR_STEP);
            }
            some.forEach(part -> part.code.accept(code));
            code.finish();
          });
      names.add(method);
      from = to;
    }
    return names;
  }
}
