package org.quern.io;

/** JSON documents. */
final class Json {
  private Json() {}
}
