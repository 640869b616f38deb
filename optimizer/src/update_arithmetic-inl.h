// The arithmetic of the update rules on one lane or many. Included inside a namespace, once for each instruction set and once for
// float; the includer defines before it:
//   Lane            float or a vector of floats, with + - * /
//   splat(float)    that value in every lane
//   square_root(Lane)
// Products and sums are rounded one by one, never fused, so that every inclusion computes the same bits.

struct SgdArithmetic {
  static constexpr int kMoments = 0;
  Lane unscale, decay, rate;

  MINIM_HOST_DEVICE explicit SgdArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)), decay(splat(c.decay)), rate(splat(c.rate)) {}
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w) const { return w - rate * (g * unscale + decay * w); }
};

struct MomentumArithmetic {
  static constexpr int kMoments = 1;
  Lane unscale, decay, rate, momentum;

  MINIM_HOST_DEVICE explicit MomentumArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)), decay(splat(c.decay)), rate(splat(c.rate)), momentum(splat(c.momentum)) {}
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& velocity) const {
    velocity = momentum * velocity + (g * unscale + decay * w);
    return w - rate * velocity;
  }
};

struct AdamArithmetic {
  static constexpr int kMoments = 2;
  Lane unscale, decay, rate, beta1, rest1, beta2, rest2, deviation_scale, epsilon;

  MINIM_HOST_DEVICE explicit AdamArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)),
        decay(splat(c.decay)),
        rate(splat(c.rate)),
        beta1(splat(c.beta1)),
        rest1(splat(c.rest1)),
        beta2(splat(c.beta2)),
        rest2(splat(c.rest2)),
        deviation_scale(splat(c.deviation_scale)),
        epsilon(splat(c.epsilon)) {}
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& mean, Lane& square) const {
    const Lane gradient = g * unscale + decay * w;
    mean = beta1 * mean + rest1 * gradient;
    square = beta2 * square + rest2 * (gradient * gradient);
    return w - rate * (mean / (square_root(square) * deviation_scale + epsilon));
  }
};
