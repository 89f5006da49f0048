/**
 * Quern: compute kernels of published machine-learning systems as plain Java calls.
 *
 * <p>On the module path the vector tier needs no flag, because {@code jdk.incubator.vector} is
 * required here; on the class path the JVM needs {@code --add-modules jdk.incubator.vector}, and
 * without it every family runs its scalar tier.
 */
module org.quern {
  requires transitive com.google.gson;
  requires jdk.incubator.vector;
  requires jdk.management;
  requires static de.siegmar.fastcsv;
  requires static info.picocli;
  requires static me.tongfei.progressbar;
  requires static org.bytedeco.javacpp;
  requires static org.bytedeco.openblas;
  requires static transitive org.jspecify;

  exports org.quern;
  exports org.quern.family;
  exports org.quern.gaunt;
  exports org.quern.io;
  exports org.quern.kronecker;
  exports org.quern.kronecker.optim;
  exports org.quern.linalg;
  exports org.quern.prune;
  exports org.quern.prune.calibration;
  exports org.quern.prune.lm;
  exports org.quern.prune.reconstruct;
  exports org.quern.prune.sparse;
  exports org.quern.random;
  exports org.quern.runtime;
  exports org.quern.tensor;

  opens org.quern.cli to
      info.picocli;

  uses org.quern.family.Family;

  provides org.quern.family.Family with
      org.quern.gaunt.GauntFamily,
      org.quern.kronecker.KroneckerFamily,
      org.quern.prune.PruneFamily;
}
