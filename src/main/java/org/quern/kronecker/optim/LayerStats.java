package org.quern.kronecker.optim;

/**
 * What a layer looks like after the last step. Figures of factors are NaN, and ranks 0, where the
 * layer has none (any more).
 *
 * @param layer name
 * @param preconditioned whether it has factors, or will have them with its first refresh
 * @param leftQuadratic s = v.y of the last update of L
 * @param rightQuadratic s of the last update of R
 * @param leftMin least element of the diagonal of L
 * @param leftMax greatest
 * @param rightMin least element of the diagonal of R
 * @param rightMax greatest
 * @param leftRank columns in use of L
 * @param rightRank columns in use of R
 * @param updates vectors that were applied, both factors counted
 * @param skipped vectors with a NaN or an infinity
 * @param resets factors without a finite result of the rule
 * @param stabilized refreshes after which both factors were led back
 * @param unseen refreshes without vectors for this layer
 * @param notFinite gradients with a NaN or an infinity
 * @param vanished gradients whose P vanished
 * @param nu scalar of the last preconditioning; NaN before
 * @param cosine of the angle of P and G at the last preconditioning; NaN where it is not measured
 */
public record LayerStats(
    String layer,
    boolean preconditioned,
    double leftQuadratic,
    double rightQuadratic,
    double leftMin,
    double leftMax,
    double rightMin,
    double rightMax,
    int leftRank,
    int rightRank,
    long updates,
    long skipped,
    long resets,
    long stabilized,
    long unseen,
    long notFinite,
    long vanished,
    double nu,
    double cosine) {}
