package org.quern.prune.lm;

import org.quern.tensor.Tensor;

/**
 * What turns the residual stream behind the last block into scores of the next token.
 *
 * @param norm gain of the last norm, F32 [hidden]
 * @param head F32 [vocabulary, hidden]; the embedding where both are tied
 */
public record OutputLayer(Tensor norm, Tensor head) {}
