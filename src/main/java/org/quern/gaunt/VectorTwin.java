package org.quern.gaunt;

import static java.lang.constant.ConstantDescs.CD_double;
import static java.lang.constant.ConstantDescs.CD_float;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.classfile.ClassBuilder;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.CodeElement;
import java.lang.classfile.FieldModel;
import java.lang.classfile.Instruction;
import java.lang.classfile.MethodModel;
import java.lang.classfile.Opcode;
import java.lang.classfile.TypeKind;
import java.lang.classfile.instruction.ArrayLoadInstruction;
import java.lang.classfile.instruction.ArrayStoreInstruction;
import java.lang.classfile.instruction.ConstantInstruction;
import java.lang.classfile.instruction.ConvertInstruction;
import java.lang.classfile.instruction.FieldInstruction;
import java.lang.classfile.instruction.InvokeInstruction;
import java.lang.classfile.instruction.LoadInstruction;
import java.lang.classfile.instruction.NewPrimitiveArrayInstruction;
import java.lang.classfile.instruction.OperatorInstruction;
import java.lang.classfile.instruction.ReturnInstruction;
import java.lang.classfile.instruction.StoreInstruction;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.InvocationTargetException;
import java.util.Map;
import java.util.Objects;

/**
 * The twin for double of a class of kernels whose text is for float: the same instructions, with
 * FloatVector, float and what goes with them replaced by DoubleVector and double. The compiler
 * wants vectors of one exact class in every variable, which rules out one method for both types,
 * and two texts would drift apart.
 *
 * <p>The text has to have a constructor without parameters, no local variable of type float, which
 * would be one slot in place of two, and no number of bytes that the Java compiler folds into it.
 */
final class VectorTwin {
  private static final Map<ClassDesc, ClassDesc> TYPES =
      Map.of(
          CD_float,
          CD_double,
          ClassDesc.of("jdk.incubator.vector.FloatVector"),
          ClassDesc.of("jdk.incubator.vector.DoubleVector"),
          ClassDesc.of("java.lang.foreign.ValueLayout$OfFloat"),
          ClassDesc.of("java.lang.foreign.ValueLayout$OfDouble"));

  private static final Map<String, String> FIELDS =
      Map.of("JAVA_FLOAT_UNALIGNED", "JAVA_DOUBLE_UNALIGNED", "F32", "F64");

  private VectorTwin() {}

  /**
   * An instance of the twin, a hidden class beside the class itself.
   *
   * @param lookup of the class
   */
  static Object of(MethodHandles.Lookup lookup, Class<?> kernels) {
    try (InputStream bytes =
        Objects.requireNonNull(kernels.getResourceAsStream(kernels.getSimpleName() + ".class"))) {
      ClassFile file = ClassFile.of(ClassFile.DebugElementsOption.DROP_DEBUG);
      ClassModel text = file.parse(bytes.readAllBytes());
      byte[] twin = file.build(text.thisClass().asSymbol(), builder -> write(builder, text));
      return lookup
          .defineHiddenClass(twin, true)
          .lookupClass()
          .getDeclaredConstructor()
          .newInstance();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (IllegalAccessException
        | InstantiationException
        | NoSuchMethodException
        | InvocationTargetException e) {
      throw new IllegalStateException("the twin of " + kernels + " cannot be made", e);
    }
  }

  private static void write(ClassBuilder builder, ClassModel text) {
    builder.withFlags(text.flags().flagsMask()).withInterfaces(text.interfaces());
    for (FieldModel field : text.fields()) {
      builder.withField(
          field.fieldName().stringValue(),
          twin(field.fieldTypeSymbol()),
          field.flags().flagsMask());
    }
    for (MethodModel method : text.methods()) {
      builder.withMethod(
          method.methodName().stringValue(),
          twin(method.methodTypeSymbol()),
          method.flags().flagsMask(),
          body -> method.code().ifPresent(code -> body.transformCode(code, VectorTwin::translate)));
    }
  }

  private static ClassDesc twin(ClassDesc type) {
    return type.isArray()
        ? twin(Objects.requireNonNull(type.componentType())).arrayType()
        : TYPES.getOrDefault(type, type);
  }

  private static MethodTypeDesc twin(MethodTypeDesc type) {
    return MethodTypeDesc.of(
        twin(type.returnType()), type.parameterList().stream().map(VectorTwin::twin).toList());
  }

  private static void translate(CodeBuilder code, CodeElement element) {
    switch (element) {
      case InvokeInstruction i ->
          code.invoke(
              i.opcode(),
              twin(i.owner().asSymbol()),
              i.name().stringValue(),
              twin(i.typeSymbol()),
              i.isInterface());
      case FieldInstruction i ->
          code.fieldAccess(
              i.opcode(),
              twin(i.owner().asSymbol()),
              FIELDS.getOrDefault(i.name().stringValue(), i.name().stringValue()),
              twin(i.typeSymbol()));
      case ConvertInstruction i -> convert(code, i);
      case ConstantInstruction i when i.typeKind() == TypeKind.FLOAT ->
          code.loadConstant(((Float) i.constantValue()).doubleValue());
      case NewPrimitiveArrayInstruction i when i.typeKind() == TypeKind.FLOAT ->
          code.newarray(TypeKind.DOUBLE);
      case OperatorInstruction i when i.typeKind() == TypeKind.FLOAT ->
          code.with(OperatorInstruction.of(twin(i)));
      case ArrayLoadInstruction i when i.typeKind() == TypeKind.FLOAT -> code.daload();
      case ArrayStoreInstruction i when i.typeKind() == TypeKind.FLOAT -> code.dastore();
      case ReturnInstruction i when i.typeKind() == TypeKind.FLOAT -> code.dreturn();
      case LoadInstruction i when i.typeKind() == TypeKind.FLOAT -> throw local();
      case StoreInstruction i when i.typeKind() == TypeKind.FLOAT -> throw local();
      default -> code.with(element);
    }
  }

  private static void convert(CodeBuilder code, ConvertInstruction i) {
    TypeKind from = i.fromType() == TypeKind.FLOAT ? TypeKind.DOUBLE : i.fromType();
    TypeKind to = i.toType() == TypeKind.FLOAT ? TypeKind.DOUBLE : i.toType();
    if (from != to) {
      code.conversion(from, to);
    }
  }

  private static Opcode twin(Instruction i) {
    return Opcode.valueOf("D" + i.opcode().name().substring(1));
  }

  private static IllegalStateException local() {
    return new IllegalStateException("expected no local variable of type float");
  }
}
