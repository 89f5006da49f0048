package org.quern.gaunt;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A direct sum of irreps with multiplicities, like {@code 128x0e+128x1o+64x2e}: the layout of one
 * row of features, block after block, in a block the copies one after another, in a copy the orders
 * -l to l (e3nn's order, which cuEquivariance calls mul_ir). Immutable.
 */
public final class Irreps {
  private static final Pattern TERM = Pattern.compile("(?:\\s*(\\d{1,9})\\s*x)?([^x]*)");

  private final List<Block> blocks;

  /**
   * Copies of an irrep.
   *
   * @param multiplicity number of copies, at least 0
   * @param irrep what is copied
   */
  public record Block(int multiplicity, Irrep irrep) {
    /**
     * Checks the multiplicity.
     *
     * @throws IllegalArgumentException where it is negative
     */
    public Block {
      if (multiplicity < 0) {
        throw new IllegalArgumentException("multiplicity: expected >= 0, got " + multiplicity);
      }
    }

    /** Components of all copies. */
    public int dimension() {
      return Math.multiplyExact(multiplicity, irrep.dimension());
    }

    @Override
    public String toString() {
      return multiplicity + "x" + irrep;
    }
  }

  /**
   * Where a block lies in a row.
   *
   * @param from first component
   * @param to one past the last component
   */
  public record Slice(int from, int to) {}

  private Irreps(List<Block> blocks) {
    this.blocks = List.copyOf(blocks);
  }

  /** A sum of blocks in this order. */
  public static Irreps of(List<Block> blocks) {
    return new Irreps(blocks);
  }

  /** A sum of blocks in this order. */
  public static Irreps of(Block... blocks) {
    return new Irreps(Arrays.asList(blocks));
  }

  /**
   * Reads a sum: terms joined by +, each an irrep, with {@code NUMBERx} before it where there is
   * not one copy. Blanks are allowed; an empty text is the empty sum.
   *
   * @throws IllegalArgumentException where the text is no such sum
   */
  public static Irreps parse(String text) {
    if (text.isBlank()) {
      return of();
    }
    List<Block> blocks = new ArrayList<>();
    for (String term : text.split("\\+", -1)) {
      Matcher matcher = TERM.matcher(term);
      if (!matcher.matches()) {
        throw new IllegalArgumentException(
            "irreps: expected terms like 128x1o joined by +, got '" + term + "' in '" + text + "'");
      }
      String multiplicity = matcher.group(1);
      try {
        blocks.add(
            new Block(
                multiplicity == null ? 1 : Integer.parseInt(multiplicity),
                Irrep.parse(matcher.group(2))));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            "irreps: expected terms like 128x1o joined by +, got '" + term + "' in '" + text + "'",
            e);
      }
    }
    return of(blocks);
  }

  /** The irreps of {@code multiplicity} functions on the sphere: natural ones of degrees 0 to L. */
  public static Irreps natural(int multiplicity, int degree) {
    List<Block> blocks = new ArrayList<>();
    for (int l = 0; l <= degree; l++) {
      blocks.add(new Block(multiplicity, Irrep.natural(l)));
    }
    return of(blocks);
  }

  /** The blocks in order. */
  public List<Block> blocks() {
    return blocks;
  }

  /** Components of a row. */
  public int dimension() {
    int sum = 0;
    for (Block block : blocks) {
      sum = Math.addExact(sum, block.dimension());
    }
    return sum;
  }

  /** Where each block lies in a row. */
  public List<Slice> slices() {
    List<Slice> slices = new ArrayList<>();
    int from = 0;
    for (Block block : blocks) {
      int to = Math.addExact(from, block.dimension());
      slices.add(new Slice(from, to));
      from = to;
    }
    return Collections.unmodifiableList(slices);
  }

  /** Copies of an irrep in all blocks together. */
  public int count(Irrep irrep) {
    return blocks.stream()
        .filter(block -> block.irrep().equals(irrep))
        .mapToInt(Block::multiplicity)
        .sum();
  }

  /** The highest degree of a block that is not empty; -1 for the empty sum. */
  public int maxDegree() {
    return blocks.stream()
        .filter(block -> block.multiplicity() > 0)
        .mapToInt(block -> block.irrep().degree())
        .max()
        .orElse(-1);
  }

  /** The blocks whose irrep is wanted, in order. */
  public Irreps filter(Predicate<Irrep> wanted) {
    return of(blocks.stream().filter(block -> wanted.test(block.irrep())).toList());
  }

  /**
   * Without empty blocks, and with neighbours of the same irrep joined; rows keep their meaning.
   */
  public Irreps simplify() {
    List<Block> joined = new ArrayList<>();
    for (Block block : blocks) {
      if (block.multiplicity() == 0) {
        continue;
      }
      boolean same = !joined.isEmpty() && joined.getLast().irrep().equals(block.irrep());
      if (same) {
        int sum = Math.addExact(joined.removeLast().multiplicity(), block.multiplicity());
        joined.add(new Block(sum, block.irrep()));
      } else {
        joined.add(block);
      }
    }
    return of(joined);
  }

  /** The blocks in the order of their irreps; equal irreps keep theirs. */
  public Irreps sorted() {
    return of(blocks.stream().sorted((a, b) -> a.irrep().compareTo(b.irrep())).toList());
  }

  /** True where every block is natural, so that a row is a set of functions on the sphere. */
  public boolean isNatural() {
    return blocks.stream().allMatch(block -> block.irrep().isNatural());
  }

  /** True where every block is pseudo. */
  public boolean isPseudo() {
    return blocks.stream().noneMatch(block -> block.irrep().isNatural());
  }

  /**
   * Checks that these can be one operand of a Gaunt product.
   *
   * @throws IllegalArgumentException where natural and pseudo blocks are mixed; the message gives
   *     the two parts
   */
  public void requireUnmixed() {
    if (!isNatural() && !isPseudo()) {
      throw new IllegalArgumentException(
          "irreps: expected natural parity in all blocks or in none, got "
              + this
              + "; split it into "
              + filter(Irrep::isNatural)
              + " and "
              + filter(irrep -> !irrep.isNatural()));
    }
  }

  /**
   * All irreps of the full product of two sums, with the number of paths to each times the products
   * of the multiplicities; sorted.
   */
  public Irreps times(Irreps other) {
    Map<Irrep, Integer> counts = new TreeMap<>();
    for (Block first : blocks) {
      for (Block second : other.blocks) {
        int copies = Math.multiplyExact(first.multiplicity(), second.multiplicity());
        for (Irrep out : first.irrep().times(second.irrep())) {
          counts.merge(out, copies, Math::addExact);
        }
      }
    }
    List<Block> products = new ArrayList<>();
    counts.forEach((irrep, copies) -> products.add(new Block(copies, irrep)));
    return of(products).simplify();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Irreps irreps && blocks.equals(irreps.blocks);
  }

  @Override
  public int hashCode() {
    return blocks.hashCode();
  }

  @Override
  public String toString() {
    return blocks.stream().map(Block::toString).collect(Collectors.joining("+"));
  }
}
