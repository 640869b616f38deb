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
  Lane unscale, decay, rate, momentum, gradient_part, velocity_part;

  MINIM_HOST_DEVICE explicit MomentumArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)),
        decay(splat(c.decay)),
        rate(splat(c.rate)),
        momentum(splat(c.momentum)),
        gradient_part(splat(c.gradient_part)),
        velocity_part(splat(c.velocity_part)) {}
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& velocity) const {
    const Lane gradient = g * unscale + decay * w;
    velocity = momentum * velocity + gradient;
    return w - rate * (gradient_part * gradient + velocity_part * velocity);
  }
};

struct AdamArithmetic {
  static constexpr int kMoments = 2;
  Lane unscale, decay, shrinkage, rate, beta1, rest1, beta2, rest2, deviation_scale, epsilon;

  MINIM_HOST_DEVICE explicit AdamArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)),
        decay(splat(c.decay)),
        shrinkage(splat(c.shrinkage)),
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
    return w - (rate * (mean / (square_root(square) * deviation_scale + epsilon)) + shrinkage * w);
  }
};

/// Adagrad, and RMSProp without momentum.
struct SquaresArithmetic {
  static constexpr int kMoments = 1;
  Lane unscale, decay, rate, beta2, rest2, initial, epsilon;

  MINIM_HOST_DEVICE explicit SquaresArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)),
        decay(splat(c.decay)),
        rate(splat(c.rate)),
        beta2(splat(c.beta2)),
        rest2(splat(c.rest2)),
        initial(splat(c.initial)),
        epsilon(splat(c.epsilon)) {}
  /// The gradient, whose square goes into the mean or sum.
  MINIM_HOST_DEVICE Lane take(Lane g, Lane w, Lane& square) const {
    const Lane gradient = g * unscale + decay * w;
    square = beta2 * square + rest2 * (gradient * gradient);
    return gradient;
  }
  MINIM_HOST_DEVICE Lane divisor(Lane square) const { return square_root(square + initial) + epsilon; }
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& square) const {
    const Lane gradient = take(g, w, square);
    return w - rate * gradient / divisor(square);
  }
};

/// RMSProp with momentum.
struct SquaresMomentumArithmetic {
  static constexpr int kMoments = 2;
  SquaresArithmetic squares;
  Lane momentum;

  MINIM_HOST_DEVICE explicit SquaresMomentumArithmetic(const UpdateConstants& c) : squares(c), momentum(splat(c.momentum)) {}
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& square, Lane& velocity) const {
    const Lane gradient = squares.take(g, w, square);
    velocity = momentum * velocity + gradient / squares.divisor(square);
    return w - squares.rate * velocity;
  }
};

struct LarsArithmetic {
  static constexpr int kMoments = 1;
  static constexpr bool kMeasuresMoments = false;
  Lane unscale, decay, rate, momentum;

  MINIM_HOST_DEVICE explicit LarsArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)), decay(splat(c.decay)), rate(splat(c.rate)), momentum(splat(c.momentum)) {}
  /// What MeasureUpdate takes the norm of.
  MINIM_HOST_DEVICE Lane measured(Lane g, Lane /*w*/) const { return g * unscale; }
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& velocity) const {
    velocity = momentum * velocity + rate * (g * unscale + decay * w);
    return w - velocity;
  }
};

struct LambArithmetic {
  static constexpr int kMoments = 2;
  static constexpr bool kMeasuresMoments = true;
  Lane unscale, decay, rate, beta1, rest1, beta2, rest2, mean_scale, deviation_scale, epsilon;

  MINIM_HOST_DEVICE explicit LambArithmetic(const UpdateConstants& c)
      : unscale(splat(c.unscale)),
        decay(splat(c.decay)),
        rate(splat(c.rate)),
        beta1(splat(c.beta1)),
        rest1(splat(c.rest1)),
        beta2(splat(c.beta2)),
        rest2(splat(c.rest2)),
        mean_scale(splat(c.mean_scale)),
        deviation_scale(splat(c.deviation_scale)),
        epsilon(splat(c.epsilon)) {}
  MINIM_HOST_DEVICE Lane step(Lane g, Lane w, Lane& mean, Lane& square) const {
    const Lane gradient = g * unscale;
    mean = beta1 * mean + rest1 * gradient;
    square = beta2 * square + rest2 * (gradient * gradient);
    return mean_scale * mean / (square_root(square) * deviation_scale + epsilon) + decay * w;
  }
  /// What MeasureUpdate takes the norm of.
  MINIM_HOST_DEVICE Lane measured(Lane g, Lane w, Lane mean, Lane square) const { return step(g, w, mean, square); }
  MINIM_HOST_DEVICE Lane operator()(Lane g, Lane w, Lane& mean, Lane& square) const {
    return w - rate * step(g, w, mean, square);
  }
};

/// Calls `f` with the arithmetic of that form, as std::type_identity.
template <class F>
auto dispatch_arithmetic(RuleForm form, F&& f) {
  switch (form) {
    case RuleForm::sgd: return f(std::type_identity<SgdArithmetic>{});
    case RuleForm::momentum: return f(std::type_identity<MomentumArithmetic>{});
    case RuleForm::adam: return f(std::type_identity<AdamArithmetic>{});
    case RuleForm::squares: return f(std::type_identity<SquaresArithmetic>{});
    case RuleForm::squares_momentum: return f(std::type_identity<SquaresMomentumArithmetic>{});
    case RuleForm::lars: return f(std::type_identity<LarsArithmetic>{});
    default: return f(std::type_identity<LambArithmetic>{});
  }
}

/// The same for the forms that have trust ratios.
template <class F>
auto dispatch_trust_arithmetic(RuleForm form, F&& f) {
  if (form == RuleForm::lars) return f(std::type_identity<LarsArithmetic>{});
  return f(std::type_identity<LambArithmetic>{});
}
