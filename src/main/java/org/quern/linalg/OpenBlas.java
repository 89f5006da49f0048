package org.quern.linalg;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.NativeViews;

/**
 * OpenBLAS, where JavaCPP's preset of it ({@code org.bytedeco:openblas}, with the natives of this
 * platform) is on the path. JavaCPP unpacks and loads it; the product itself is called through the
 * foreign-function interface, with bare addresses, so that no object is made per call.
 *
 * <p>Loading sets OpenBLAS to one thread for the whole process, because Quern splits products among
 * threads of its own.
 *
 * @param product {@code cblas_sgemm}, or null where there is no OpenBLAS
 * @param status one line: the version, or why there is none
 */
record OpenBlas(@Nullable MethodHandle product, String status) {
  /** Set to {@code false}, this system property leaves OpenBLAS alone. */
  static final String PROPERTY = "quern.openblas";

  private static final FunctionDescriptor SGEMM =
      FunctionDescriptor.ofVoid(
          ValueLayout.JAVA_INT, // order of the elements
          ValueLayout.JAVA_INT, // transpose of A
          ValueLayout.JAVA_INT, // transpose of B
          ValueLayout.JAVA_INT, // m
          ValueLayout.JAVA_INT, // n
          ValueLayout.JAVA_INT, // k
          ValueLayout.JAVA_FLOAT, // alpha
          ValueLayout.JAVA_LONG, // address of A
          ValueLayout.JAVA_INT, // lda
          ValueLayout.JAVA_LONG, // address of B
          ValueLayout.JAVA_INT, // ldb
          ValueLayout.JAVA_FLOAT, // beta
          ValueLayout.JAVA_LONG, // address of C
          ValueLayout.JAVA_INT); // ldc

  /** What this process has; the first call loads it. */
  static OpenBlas get() {
    return Holder.FOUND;
  }

  private static OpenBlas find() {
    if ("false".equals(System.getProperty(PROPERTY))) {
      return new OpenBlas(null, "is switched off by -D" + PROPERTY + "=false");
    }
    if (!NativeViews.enabled()) {
      return new OpenBlas(null, "needs --enable-native-access");
    }
    try {
      return load();
    } catch (Throwable failure) { // whatever a foreign loader throws, the own kernels serve
      return new OpenBlas(null, reason(failure));
    }
  }

  private static String reason(Throwable failure) {
    boolean absent = failure instanceof NoClassDefFoundError;
    return absent ? "(org.bytedeco:openblas) is not on the path" : "cannot be loaded: " + failure;
  }

  @SuppressWarnings("restricted") // native access is enabled, as find() has checked
  private static OpenBlas load() throws Throwable {
    Loader.load(openblas_nolapack.class);
    Path library =
        Loader.getLoadedLibraries().entrySet().stream()
            .filter(each -> each.getKey().startsWith("openblas"))
            .map(each -> Path.of(each.getValue()))
            .findFirst()
            .orElseThrow(() -> new UnsatisfiedLinkError("JavaCPP names no file of OpenBLAS"));
    SymbolLookup symbols = SymbolLookup.libraryLookup(library, Arena.global());
    Linker linker = Linker.nativeLinker();
    linker
        .downcallHandle(
            symbols.findOrThrow("openblas_set_num_threads"),
            FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT))
        .invokeExact(1);
    MemorySegment configuration =
        (MemorySegment)
            linker
                .downcallHandle(
                    symbols.findOrThrow("openblas_get_config"),
                    FunctionDescriptor.of(ValueLayout.ADDRESS))
                .invokeExact();
    String text = configuration.reinterpret(1 << 12).getString(0);
    return new OpenBlas(
        linker.downcallHandle(symbols.findOrThrow("cblas_sgemm"), SGEMM), text.strip());
  }

  private static final class Holder {
    private static final OpenBlas FOUND = find();

    private Holder() {}
  }
}
