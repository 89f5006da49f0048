package org.quern;

import static com.tngtech.archunit.lang.conditions.ArchConditions.dependOnClassesThat;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import com.tngtech.archunit.library.GeneralCodingRules;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;

/**
 * The rooms of docs/architecture.md, enforced. Each rule is also shown to catch the classes under
 * {@code org.quern.broken}, which break it on purpose.
 */
class ArchitectureTest {
  private static final JavaClasses MAIN =
      new ClassFileImporter().importPath(Path.of("target/classes"));
  private static final JavaClasses BROKEN =
      new ClassFileImporter().importPath(Path.of("target/test-classes/org/quern/broken"));

  /** Floor of each room; a room that is not named here is a family. */
  private static final Map<String, Integer> FLOORS =
      Map.of(
          "runtime", 0, "tensor", 1, "random", 1, "io", 2, "linalg", 2, "family", 3, "cli", 5,
          "djl", 5);

  private static final int FAMILIES = 4;
  private static final int ENTRY = 5;

  private static final ArchRule KERNELS_ARE_HIDDEN =
      classes()
          .that()
          .haveSimpleNameEndingWith("Kernels")
          .should()
          .notHaveModifier(JavaModifier.PUBLIC)
          .because("tiers are chosen behind the public types")
          .allowEmptyShould(true);

  private static final ArchRule VECTORS_STAY_IN_VECTOR_CLASSES =
      noClasses()
          .that(DescribedPredicate.not(isNamedVector()))
          .should()
          .dependOnClassesThat()
          .resideInAPackage("jdk.incubator.vector..")
          .because(
              "only classes named Vector... are loaded after the check that the module is there");

  private static final ArchRule ONLY_DOORS_PRINT =
      noClasses()
          .that()
          .resideOutsideOfPackage("org.quern.cli..")
          .should(GeneralCodingRules.ACCESS_STANDARD_STREAMS)
          .because("library code logs through System.Logger");

  private static final ArchRule NO_HIDDEN_RANDOMNESS =
      noClasses()
          .should(
              dependOnClassesThat(
                  DescribedPredicate.describe(
                      "are generators of the JDK", ArchitectureTest::isGenerator)))
          .orShould()
          .callMethod(Math.class, "random")
          .because("results follow from the seed that the user gives to org.quern.random");

  @Test
  void roomsDependDownward() {
    downward("org.quern").check(MAIN);
  }

  @Test
  void kernelsAreHidden() {
    KERNELS_ARE_HIDDEN.check(MAIN);
  }

  @Test
  void vectorsStayInVectorClasses() {
    VECTORS_STAY_IN_VECTOR_CLASSES.check(MAIN);
  }

  @Test
  void onlyDoorsPrint() {
    ONLY_DOORS_PRINT.check(MAIN);
  }

  @Test
  void noHiddenRandomness() {
    NO_HIDDEN_RANDOMNESS.check(MAIN);
  }

  @Test
  void everyRuleCatchesTheClassThatBreaksIt() {
    assertCatches(downward("org.quern.broken"), "broken.runtime.Upward", "broken.sieve.Sideways");
    assertCatches(KERNELS_ARE_HIDDEN, "broken.mill.OpenKernels");
    assertCatches(VECTORS_STAY_IN_VECTOR_CLASSES, "broken.mill.Eager");
    assertCatches(ONLY_DOORS_PRINT, "broken.mill.Chatter");
    assertCatches(NO_HIDDEN_RANDOMNESS, "broken.mill.Dice");
  }

  private static void assertCatches(ArchRule rule, String... culprits) {
    List<String> details = rule.evaluate(BROKEN).getFailureReport().getDetails();
    assertFalse(details.isEmpty(), rule.getDescription());
    for (String culprit : culprits) {
      assertTrue(
          details.stream().anyMatch(detail -> detail.contains(culprit)),
          () -> culprit + " in " + details);
    }
    assertEquals(
        List.of(),
        details.stream()
            .filter(detail -> List.of(culprits).stream().noneMatch(detail::contains))
            .toList());
  }

  private static ArchRule downward(String root) {
    return classes()
        .should(new DownwardCondition(root))
        .because("rooms depend downward, and families not on one another");
  }

  private static DescribedPredicate<JavaClass> isNamedVector() {
    return DescribedPredicate.describe(
        "are or lie in a class named Vector...",
        type -> {
          String name = type.getName().substring(type.getPackageName().length() + 1);
          return name.startsWith("Vector");
        });
  }

  private static boolean isGenerator(JavaClass type) {
    return type.isEquivalentTo(Random.class)
        || type.isEquivalentTo(SplittableRandom.class)
        || type.isEquivalentTo(ThreadLocalRandom.class);
  }

  private static final class DownwardCondition extends ArchCondition<JavaClass> {
    private final String root;

    DownwardCondition(String root) {
      super("depend on lower rooms only");
      this.root = root;
    }

    @Override
    public void check(JavaClass type, ConditionEvents events) {
      for (Dependency dependency : type.getDirectDependenciesFromSelf()) {
        JavaClass target = dependency.getTargetClass();
        if (target.getPackageName().startsWith(root) && !isAllowed(room(type), room(target))) {
          events.add(SimpleConditionEvent.violated(type, dependency.getDescription()));
        }
      }
    }

    private static boolean isAllowed(String from, String to) {
      return from.equals(to)
          || floor(to) < floor(from)
          || (floor(to) == floor(from) && floor(from) < FAMILIES);
    }

    /** The first package below the root; empty for the entry point in the root itself. */
    private String room(JavaClass type) {
      return type.getPackageName().equals(root)
          ? ""
          : type.getPackageName().substring(root.length() + 1).split("\\.", 2)[0];
    }

    private static int floor(String room) {
      return room.isEmpty() ? ENTRY : FLOORS.getOrDefault(room, FAMILIES);
    }
  }
}
