;; The inner loop of Householder tridiagonalisation, two f64 lanes and two rows at a time.
;; All addresses are in bytes; matrices are row-major f64, of which only the lower triangle is read and written.
(module
  (import "host" "memory" (memory 1))

  ;; One pass over the leading rows x rows block of the symmetric matrix $a, which
  ;;   applies the pending rank-2 update   A <- A - u w' - w u'
  ;;   and multiplies                      p <- A v.
  ;; Rows go in pairs: with an odd count the row after the last is included, so its v must be 0 and its contents free.
  (func (export "updateAndMultiply")
    (param $a i32) (param $stride i32) (param $rows i32)
    (param $u i32) (param $w i32) (param $v i32) (param $p i32)
    (local $row i32) (local $row0 i32) (local $row1 i32) (local $k i32) (local $end i32)
    (local $u0 v128) (local $u1 v128) (local $w0 v128) (local $w1 v128) (local $v0 v128) (local $v1 v128)
    (local $uk v128) (local $wk v128) (local $a0 v128) (local $a1 v128) (local $sum0 v128) (local $sum1 v128)
    (local $a00 f64) (local $a10 f64) (local $a11 f64) (local $vr0 f64) (local $vr1 f64)
    (local $ur0 f64) (local $ur1 f64) (local $wr0 f64) (local $wr1 f64)
    (local.set $row0 (local.get $a))
    (block $done
      (loop $pairs
        (br_if $done (i32.ge_s (local.get $row) (local.get $rows)))
        (local.set $row1 (i32.add (local.get $row0) (local.get $stride)))
        (local.set $end (i32.shl (local.get $row) (i32.const 3)))
        (local.set $ur0 (f64.load (i32.add (local.get $u) (local.get $end))))
        (local.set $ur1 (f64.load offset=8 (i32.add (local.get $u) (local.get $end))))
        (local.set $wr0 (f64.load (i32.add (local.get $w) (local.get $end))))
        (local.set $wr1 (f64.load offset=8 (i32.add (local.get $w) (local.get $end))))
        (local.set $vr0 (f64.load (i32.add (local.get $v) (local.get $end))))
        (local.set $vr1 (f64.load offset=8 (i32.add (local.get $v) (local.get $end))))
        (local.set $u0 (f64x2.splat (local.get $ur0)))
        (local.set $u1 (f64x2.splat (local.get $ur1)))
        (local.set $w0 (f64x2.splat (local.get $wr0)))
        (local.set $w1 (f64x2.splat (local.get $wr1)))
        (local.set $v0 (f64x2.splat (local.get $vr0)))
        (local.set $v1 (f64x2.splat (local.get $vr1)))
        (local.set $sum0 (f64x2.splat (f64.const 0)))
        (local.set $sum1 (f64x2.splat (f64.const 0)))

        ;; Left of the diagonal block: each element serves its own row's sum and, mirrored, the sum of row k.
        (local.set $k (i32.const 0))
        (block $rowDone
          (loop $columns
            (br_if $rowDone (i32.ge_s (local.get $k) (local.get $end)))
            (local.set $uk (v128.load (i32.add (local.get $u) (local.get $k))))
            (local.set $wk (v128.load (i32.add (local.get $w) (local.get $k))))
            (local.set $a0
              (f64x2.sub
                (v128.load (i32.add (local.get $row0) (local.get $k)))
                (f64x2.add
                  (f64x2.mul (local.get $u0) (local.get $wk))
                  (f64x2.mul (local.get $w0) (local.get $uk)))))
            (local.set $a1
              (f64x2.sub
                (v128.load (i32.add (local.get $row1) (local.get $k)))
                (f64x2.add
                  (f64x2.mul (local.get $u1) (local.get $wk))
                  (f64x2.mul (local.get $w1) (local.get $uk)))))
            (v128.store (i32.add (local.get $row0) (local.get $k)) (local.get $a0))
            (v128.store (i32.add (local.get $row1) (local.get $k)) (local.get $a1))
            (v128.store (i32.add (local.get $p) (local.get $k))
              (f64x2.add
                (v128.load (i32.add (local.get $p) (local.get $k)))
                (f64x2.add
                  (f64x2.mul (local.get $a0) (local.get $v0))
                  (f64x2.mul (local.get $a1) (local.get $v1)))))
            (local.set $uk (v128.load (i32.add (local.get $v) (local.get $k))))
            (local.set $sum0 (f64x2.add (local.get $sum0) (f64x2.mul (local.get $a0) (local.get $uk))))
            (local.set $sum1 (f64x2.add (local.get $sum1) (f64x2.mul (local.get $a1) (local.get $uk))))
            (local.set $k (i32.add (local.get $k) (i32.const 16)))
            (br $columns)))

        ;; The 2 x 2 block on the diagonal, where p of these two rows begins.
        (local.set $a00
          (f64.sub
            (f64.load (i32.add (local.get $row0) (local.get $end)))
            (f64.mul (f64.const 2) (f64.mul (local.get $ur0) (local.get $wr0)))))
        (local.set $a10
          (f64.sub
            (f64.load (i32.add (local.get $row1) (local.get $end)))
            (f64.add
              (f64.mul (local.get $ur1) (local.get $wr0))
              (f64.mul (local.get $wr1) (local.get $ur0)))))
        (local.set $a11
          (f64.sub
            (f64.load offset=8 (i32.add (local.get $row1) (local.get $end)))
            (f64.mul (f64.const 2) (f64.mul (local.get $ur1) (local.get $wr1)))))
        (f64.store (i32.add (local.get $row0) (local.get $end)) (local.get $a00))
        (f64.store (i32.add (local.get $row1) (local.get $end)) (local.get $a10))
        (f64.store offset=8 (i32.add (local.get $row1) (local.get $end)) (local.get $a11))
        (f64.store (i32.add (local.get $p) (local.get $end))
          (f64.add
            (f64.add (f64x2.extract_lane 0 (local.get $sum0)) (f64x2.extract_lane 1 (local.get $sum0)))
            (f64.add
              (f64.mul (local.get $a00) (local.get $vr0))
              (f64.mul (local.get $a10) (local.get $vr1)))))
        (f64.store offset=8 (i32.add (local.get $p) (local.get $end))
          (f64.add
            (f64.add (f64x2.extract_lane 0 (local.get $sum1)) (f64x2.extract_lane 1 (local.get $sum1)))
            (f64.add
              (f64.mul (local.get $a10) (local.get $vr0))
              (f64.mul (local.get $a11) (local.get $vr1)))))

        (local.set $row0 (i32.add (local.get $row1) (local.get $stride)))
        (local.set $row (i32.add (local.get $row) (i32.const 2)))
        (br $pairs)))))
