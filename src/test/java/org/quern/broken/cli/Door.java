package org.quern.broken.cli;

/** What a lower room must not depend on. */
public final class Door {}
