;; In-place arithmetic on float32 vectors in the imported memory. Addresses are in bytes; `count` is in floats, a
;; multiple of 4. The vectors are far larger than the caches, so each function passes over its operands once.
(module
  (import "repa" "memory" (memory 1))

  ;; One AdamW step (arXiv 1711.05101), in PyTorch's order of operations:
  ;;   g = gradientScale g;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
  ;;   p = decay p - stepSize m / (sqrt(v) / rootCorrection + epsilon)
  (func (export "adamw")
    (param $p i32) (param $g i32) (param $m i32) (param $v i32) (param $count i32)
    (param $gradientScale f32) (param $beta1 f32) (param $rest1 f32) (param $beta2 f32) (param $rest2 f32)
    (param $decay f32) (param $stepSize f32) (param $rootCorrection f32) (param $epsilon f32)
    (local $end i32) (local $gradient v128) (local $first v128) (local $second v128)
    (local.set $end (i32.add (local.get $p) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
        (local.set $gradient
          (f32x4.mul (v128.load (local.get $g)) (f32x4.splat (local.get $gradientScale))))
        (local.set $first
          (f32x4.add
            (f32x4.mul (v128.load (local.get $m)) (f32x4.splat (local.get $beta1)))
            (f32x4.mul (local.get $gradient) (f32x4.splat (local.get $rest1)))))
        (v128.store (local.get $m) (local.get $first))
        (local.set $second
          (f32x4.add
            (f32x4.mul (v128.load (local.get $v)) (f32x4.splat (local.get $beta2)))
            (f32x4.mul
              (f32x4.mul (local.get $gradient) (local.get $gradient))
              (f32x4.splat (local.get $rest2)))))
        (v128.store (local.get $v) (local.get $second))
        (v128.store (local.get $p)
          (f32x4.sub
            (f32x4.mul (v128.load (local.get $p)) (f32x4.splat (local.get $decay)))
            (f32x4.div
              (f32x4.mul (local.get $first) (f32x4.splat (local.get $stepSize)))
              (f32x4.add
                (f32x4.div (f32x4.sqrt (local.get $second)) (f32x4.splat (local.get $rootCorrection)))
                (f32x4.splat (local.get $epsilon))))))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (local.set $g (i32.add (local.get $g) (i32.const 16)))
        (local.set $m (i32.add (local.get $m) (i32.const 16)))
        (local.set $v (i32.add (local.get $v) (i32.const 16)))
        (br $next))))

  ;; y = a y + b x
  (func (export "blend") (param $y i32) (param $x i32) (param $count i32) (param $a f32) (param $b f32)
    (local $end i32)
    (local.set $end (i32.add (local.get $y) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $y) (local.get $end)))
        (v128.store (local.get $y)
          (f32x4.add
            (f32x4.mul (v128.load (local.get $y)) (f32x4.splat (local.get $a)))
            (f32x4.mul (v128.load (local.get $x)) (f32x4.splat (local.get $b)))))
        (local.set $y (i32.add (local.get $y) (i32.const 16)))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (br $next))))

  ;; The sum of squares, in float64: it neither overflows nor loses small elements, and is not finite if one of x is not.
  (func (export "sumOfSquares") (param $x i32) (param $count i32) (result f64)
    (local $end i32) (local $low v128) (local $high v128) (local $sumLow v128) (local $sumHigh v128)
    (local.set $end (i32.add (local.get $x) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $x) (local.get $end)))
        (local.set $low (f64x2.promote_low_f32x4 (v128.load64_zero (local.get $x))))
        (local.set $high (f64x2.promote_low_f32x4 (v128.load64_zero offset=8 (local.get $x))))
        (local.set $sumLow (f64x2.add (local.get $sumLow) (f64x2.mul (local.get $low) (local.get $low))))
        (local.set $sumHigh (f64x2.add (local.get $sumHigh) (f64x2.mul (local.get $high) (local.get $high))))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (br $next)))
    (local.set $sumLow (f64x2.add (local.get $sumLow) (local.get $sumHigh)))
    (f64.add (f64x2.extract_lane 0 (local.get $sumLow)) (f64x2.extract_lane 1 (local.get $sumLow)))))
