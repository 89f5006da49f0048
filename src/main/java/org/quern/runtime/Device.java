package org.quern.runtime;

/**
 * Where memory lives.
 *
 * @param kind CPU or CUDA
 * @param index ordinal among the devices of that kind; 0 for the CPU
 */
public record Device(Kind kind, int index) {
  /** Kinds of device. */
  public enum Kind {
    /** Host memory. */
    CPU,
    /** Memory of an NVIDIA GPU, never dereferenced on the host. */
    CUDA
  }

  /** Host memory. */
  public static final Device CPU = new Device(Kind.CPU, 0);

  /** Checks the ordinal. */
  public Device {
    if (index < 0 || (kind == Kind.CPU && index != 0)) {
      throw new IllegalArgumentException(
          "index: expected 0 for the CPU and >= 0 for CUDA, got " + kind + " " + index);
    }
  }

  /** The CUDA device of an ordinal. */
  public static Device cuda(int index) {
    return new Device(Kind.CUDA, index);
  }

  @Override
  public String toString() {
    return kind == Kind.CPU ? "cpu" : "cuda:" + index;
  }
}
