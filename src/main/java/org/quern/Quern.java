package org.quern;

import org.quern.runtime.Capabilities;

/** Entry point of the library. */
public final class Quern {
  private Quern() {}

  /** What this JVM on this machine can run, and why the rest cannot. */
  public static Capabilities capabilities() {
    return Capabilities.get();
  }
}
