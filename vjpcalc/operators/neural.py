"""Layers and losses of torch.nn.functional.

In scope in every text: the parameters by name; in ``vjp`` also g (the cotangent) and y (the output). Channels
are dimension 1 (dimension 0 without a batch), space is the last one, two or three dimensions.
"""

from vjpcalc.operators.registry import array, composed, family, movement

# fmt: off

# ---- linear layers -----------------------------------------------------------------------------------------
family("Layers", source="torch derivatives.yaml")
composed("linear(x, weight, bias: tensor = None)", torch="nn.functional.linear",
         ref="z = x @ weight.T; z if bias == None else z + bias",
         size="numel(x) // max(x.shape[-1], 1) * (weight.shape[0] if weight.ndim > 1 else 1)",
         vjp={"x": "g @ weight",
              "weight": "flatten(g, 0, -2).mT @ flatten(x, 0, -2) if x.ndim > 1 else outer(g, x)",
              "bias": "g"},
         samples=("linear(x, w) | x(2,3) w(4,3)", "linear(x, w, b) | x(2,3) w(4,3) b(4)",
                  "linear(x, w, b) | x(3) w(4,3) b(4)", "linear(x, w, b) | x(2,2,3) w(1,3) b(1)",
                  "linear(x, w) | x(0,3) w(2,3)"),
         example="'linear(x, w, b)' x='[1, 2]' w='[[3, 4]]' b='[5]' --seed '[1]' -> x = [3, 4]; "
                 "w = [[1, 2]]; b = [1]")
composed("bilinear(a|input1, b|input2, weight, bias: tensor = None)", torch="nn.functional.bilinear",
         ref="z = einsum('...i,oij,...j->...o', a, weight, b); z if bias == None else z + bias",
         size="numel(a) // max(a.shape[-1], 1) * weight.shape[0]",
         vjp={"a": "einsum('...o,oij,...j->...i', g, weight, b)",
              "b": "einsum('...o,oij,...i->...j', g, weight, a)",
              "weight": "einsum('...o,...i,...j->oij', g, a, b)", "bias": "g"},
         samples=("bilinear(a, b, w) | a(2,3) b(2,4) w(5,3,4)",
                  "bilinear(a, b, w, c) | a(2,3) b(2,2) w(2,3,2) c(2)"),
         example="'bilinear(a, b, w)' a='[[2]]' b='[[3]]' w='[[[4]]]' --seed '[[1]]' -> a = [[12]]; "
                 "b = [[8]]; w = [[[6]]]")
movement("embedding(indices|input: indices, weight)", torch="nn.functional.embedding(indices, weight)",
         numpy="take(weight, indices, axis=0)",
         vjp={"weight": "accumulate(g, positions(weight)[indices], weight)"},
         samples=("embedding([0, 2, 0], w) | w(3,2)", "embedding(tensor([[0, 1], [1, 1]]), w) | w(3,2)"),
         example="'embedding([1, 1], w)' w='[[1], [2]]' --seed '[[3], [4]]' -> w = [[0], [7]]")
composed("dropout(x, p: number = 0.5, training: flag = True)", torch="nn.functional.dropout(x, p, training)",
         ref="x", vjp={"x": "g"},
         requires={"not training or p == 0": "in training mode it is random; pass training=False"},
         samples="dropout(x, 0.3, training=False) | x(2,3)",
         example="'dropout(x, training=False)' x=3 -> x = 1")

# ---- convolutions ------------------------------------------------------------------------------------------
family("Convolutions",
       source="V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, 2016")
_GEOMETRY = "stride, padding, dilation, groups"
array("conv_input(g, x, weight, stride: ints, padding: any, dilation: ints, groups: int)", torch="",
      hidden=True, numpy=f"kernels.conv_input(g, x, weight, {_GEOMETRY})",
      note="a convolution's transpose, applied to g")
array("conv_weight(g, x, weight, stride: ints, padding: any, dilation: ints, groups: int)", torch="",
      hidden=True, numpy=f"kernels.conv_weight(g, x, weight, {_GEOMETRY})",
      note="the correlation of g with x")
for _n, _shape, _kernel in [(1, "5", "3"), (2, "4,5", "3,2"), (3, "3,3,2", "2,2,1")]:
    _one = "[" * (_n + 2) + "{}" + "]" * (_n + 2)
    _bias = f"z = movedim(g, {-_n - 1}, -1); sum(reshape(z, (-1, z.shape[-1])), 0)"
    array(f"conv{_n}d(x, weight, bias: tensor = None, stride: ints = 1, padding: any = 0, "
          "dilation: ints = 1, groups: int = 1)",
          torch=f"nn.functional.conv{_n}d(x, weight, bias, {_GEOMETRY})", complex="numpy", mixes="windows",
          numpy=f"kernels.conv(x, weight, bias, {_GEOMETRY})",
          note="padding is a number, one for each dimension, 'valid' or 'same'",
          vjp={"x": f"conv_input(g, x, weight, {_GEOMETRY})",
               "weight": f"conv_weight(g, x, weight, {_GEOMETRY})", "bias": _bias},
          samples=(f"conv{_n}d(x, w) | x(2,3,{_shape}) w(4,3,{_kernel})",
                   f"conv{_n}d(x, w, b, stride=2, padding=1) | x(1,2,{_shape}) w(2,2,{_kernel}) b(2)",
                   f"conv{_n}d(x, w, padding='same') | x(1,2,{_shape}) w(3,2,{_kernel})",
                   f"conv{_n}d(x, w, groups=2) | x(2,4,{_shape}) w(2,2,{_kernel})",
                   f"conv{_n}d(x, w, dilation=2, padding=2) | x(1,1,{_shape}) w(2,1,{_kernel})",
                   f"conv{_n}d(x, w, b) | x(2,{_shape}) w(3,2,{_kernel}) b(3)",
                   *(["conv2d(x, w, stride=(2, 1), padding=(1, 0)) | x(1,2,5,4) w(2,2,2,3)"] * (_n == 2))),
          example=f"'conv{_n}d(x, w)' x='{_one.format('2')}' w='{_one.format('3')}' --seed "
                  f"'{_one.format('1')}' -> x = {_one.format('3')}; w = {_one.format('2')}")
    array(f"conv_transpose{_n}d(x, weight, bias: tensor = None, stride: ints = 1, padding: ints = 0, "
          "output_padding: ints = 0, groups: int = 1, dilation: ints = 1)",
          complex="numpy", mixes="windows back",
          torch=f"nn.functional.conv_transpose{_n}d(x, weight, bias, stride, padding, output_padding, "
                "groups, dilation)",
          numpy=f"kernels.conv_transpose(x, weight, bias, {_GEOMETRY}, output_padding)",
          vjp={"x": f"conv{_n}d(g, weight, None, {_GEOMETRY})",
               "weight": f"conv_weight(x, g, weight, {_GEOMETRY})", "bias": _bias},
          samples=(f"conv_transpose{_n}d(x, w) | x(2,3,{_shape}) w(3,2,{_kernel})",
                   f"conv_transpose{_n}d(x, w, b, stride=2, padding=1, output_padding=1) | x(1,2,{_shape}) "
                   f"w(2,2,{_kernel}) b(2)",
                   f"conv_transpose{_n}d(x, w, groups=2, dilation=2) | x(1,4,{_shape}) w(4,1,{_kernel})"),
          example=f"'conv_transpose{_n}d(x, w)' x='{_one.format('2')}' w='{_one.format('3')}' --seed "
                  f"'{_one.format('1')}' -> x = {_one.format('3')}; w = {_one.format('2')}")

# ---- pooling -----------------------------------------------------------------------------------------------
family("Pooling", source="torch derivatives.yaml")
array("windows(x, size: ints, stride: ints, padding: ints, dilation: ints, n: int, value: number)", torch="",
      hidden=True, complex="numpy", numpy="kernels.windows(x, size, stride, padding, dilation, n, value)",
      mixes="moves",
      note="the elements that each window over the last n dimensions sees, as a last dimension")
array("averaging(m: int, n: int, x)", torch="", numpy="kernels.averaging(m, n)", complex="constant",
      frozen=True, hidden=True, note="the (n, m) matrix that averages m elements down to n")
_STRIDE = "s = kernel_size if stride == None else stride"
for _n, _shape in [(1, "6"), (2, "4,5"), (3, "2,4,3")]:
    _x = "[" * (_n + 1) + "1, 3" + "]" * (_n + 1)
    _k = str((1,) * (_n - 1) + (2,)) if _n > 1 else "2"
    composed(f"avg_pool{_n}d(x, kernel_size: ints, stride: ints = None, padding: ints = 0, "
             "ceil_mode: flag = False, count_include_pad: flag = True)",
             requires={"not ceil_mode": "ceil_mode is not supported"},
             torch=f"{'nn.functional.' if _n > 1 else ''}avg_pool{_n}d(x, kernel_size, stride, padding, "
                   "ceil_mode, count_include_pad)",
             ref=(_STRIDE, f"""w = windows(x, kernel_size, s, padding, (1,), {_n}, 0)
                               n = w.shape[-1]
                               if not count_include_pad:
                                   n = sum(windows(ones_like(x), kernel_size, s, padding, (1,), {_n}, 0), -1)
                               sum(w, -1) / n"""),
             vjp={"x": (_STRIDE, f"""p = windows(positions(x), kernel_size, s, padding, (1,), {_n}, -1)
                                     z = g / (p.shape[-1] if count_include_pad else sum(p >= 0, -1))
                                     accumulate(expand(unsqueeze(z, -1), p.shape), p, x)""")},
             samples=(f"avg_pool{_n}d(x, 2) | x(2,3,{_shape})",
                      f"avg_pool{_n}d(x, 2, stride=1, padding=1) | x(1,2,{_shape})",
                      f"avg_pool{_n}d(x, 2, 1, 1, count_include_pad=False) | x(1,2,{_shape})",
                      f"avg_pool{_n}d(x, 2) | x(2,{_shape})"),
             example=f"'avg_pool{_n}d(x, {_k})' x='{_x}' --seed '{'[' * (_n + 1)}1{']' * (_n + 1)}' "
                     f"-> x = {_x.replace('1, 3', '0.5, 0.5')}")
    _seen = (_STRIDE, f"w = windows(x, kernel_size, s, padding, dilation, {_n}, -inf)")
    composed(f"max_pool{_n}d(x, kernel_size: ints, stride: ints = None, padding: ints = 0, "
             "dilation: ints = 1, ceil_mode: flag = False)",
             torch=f"nn.functional.max_pool{_n}d(x, kernel_size, stride, padding, dilation, ceil_mode)",
             requires={"not ceil_mode": "ceil_mode is not supported"},
             ref=(_seen, "squeeze(take_along_dim(w, argmax(w, -1, True), -1), -1)"),
             kinks=(_seen, "sum(w == amax(w, -1, True), -1) > 1"),
             convention="the first of equal elements has all of g",
             vjp={"x": (_seen, f"""p = windows(positions(x), kernel_size, s, padding, dilation, {_n}, -1)
                                   p = take_along_dim(p, argmax(w, -1, True), -1)
                                   accumulate(unsqueeze(g, -1), p, x)""")},
             samples=(f"max_pool{_n}d(x, 2) | x(2,3,{_shape})",
                      f"max_pool{_n}d(x, 2, stride=1, padding=1) | x(1,2,{_shape})",
                      f"max_pool{_n}d(x, 2, 1, 1, dilation=2) | x(1,2,{_shape})",
                      f"max_pool{_n}d(x, 2) | x(2,{_shape})"),
             example=f"'max_pool{_n}d(x, {_k})' x='{_x}' --seed '{'[' * (_n + 1)}1{']' * (_n + 1)}' "
                     f"-> x = {_x.replace('1, 3', '0, 1')}")
composed("adaptive_avg_pool1d(x, output_size: int)", torch="adaptive_avg_pool1d(x, output_size)",
         ref="x @ averaging(x.shape[-1], output_size, x).T",
         vjp={"x": "g @ averaging(x.shape[-1], output_size, x)"},
         samples=("adaptive_avg_pool1d(x, 3) | x(2,3,5)", "adaptive_avg_pool1d(x, 1) | x(2,4)"),
         example="'adaptive_avg_pool1d(x, 1)' x='[[1, 3]]' --seed '[[1]]' -> x = [[0.5, 0.5]]")
for _kind, _rows, _columns, _call in [
    ("int", "output_size", "output_size", "1"), ("ints", "output_size[0]", "output_size[1]", "(1, 1)"),
]:
    composed(f"adaptive_avg_pool2d(x, output_size: {_kind})",
             torch="nn.functional.adaptive_avg_pool2d(x, output_size)",
             ref=f"averaging(x.shape[-2], {_rows}, x) @ x @ averaging(x.shape[-1], {_columns}, x).T",
             vjp={"x": f"averaging(x.shape[-2], {_rows}, x).T @ g @ averaging(x.shape[-1], {_columns}, x)"},
             samples=f"adaptive_avg_pool2d(x, {_call.replace('1, 1', '2, 3')}) | x(2,4,5)",
             example=f"'adaptive_avg_pool2d(x, {_call})' x='[[[1, 3]]]' --seed '[[[1]]]' "
                     "-> x = [[[0.5, 0.5]]]")

# ---- normalization -----------------------------------------------------------------------------------------
family("Normalization", source="J. L. Ba, J. R. Kiros and G. E. Hinton, Layer normalization, 2016")
composed("standardized(x, n: int, eps: number)", torch="", hidden=True,
         note="each run of n elements, less its mean, over its deviation",
         ref="""z = reshape(x, (numel(x) // n, n))
                z = z - mean(z, 1, True)
                reshape(z / sqrt(mean(z * z, 1, True) + eps), x.shape)""")
composed("standardized_rule(g, x, n: int, eps: number)", torch="", hidden=True,
         note="what x receives of standardized(x)",
         ref="""h = reshape(standardized(x, n, eps), (numel(x) // n, n))
                d = reshape(g, h.shape)
                z = reshape(x, h.shape)
                s = sqrt(mean((z - mean(z, 1, True)) ** 2, 1, True) + eps)
                reshape((d - mean(d, 1, True) - h * mean(d * h, 1, True)) / s, x.shape)""")
_RUN = """n = 1
          for i in range(len(normalized_shape)):
              n = n * normalized_shape[i]"""
composed("layer_norm(x, normalized_shape: shape, weight: tensor = None, bias: tensor = None, "
         "eps: number = 1e-05)",
         torch="nn.functional.layer_norm(x, normalized_shape, weight, bias, eps)",
         formula="(x - mean) / sqrt(variance + eps) * weight + bias",
         ref=(_RUN, """z = standardized(x, n, eps)
                       z = z if weight == None else z * weight
                       z if bias == None else z + bias"""),
         vjp={"x": (_RUN, "standardized_rule(g if weight == None else g * weight, x, n, eps)"),
              "weight": (_RUN, "g * standardized(x, n, eps)"), "bias": "g"},
         samples=("layer_norm(x, (3,)) | x(2,3)", "layer_norm(x, (3,), w, b) | x(2,3) w(3) b(3)",
                  "layer_norm(x, (2, 3), w) | x(4,2,3) w(2,3)", "layer_norm(x, [3], eps=0.1) | x(3)"),
         example="'layer_norm(x, (3,), eps=0)' x='[-1, 0, 1]' --seed '[1, 0, 0]' "
                 "-> x = [0.2041241, -0.4082483, 0.2041241]")
_CHANNELS = """p = {0}
               for i in range(x.ndim - 2):
                   p = unsqueeze(p, -1)"""
_AFFINE = """if weight != None:
                 w = weight
                 for i in range(x.ndim - 2):
                     w = unsqueeze(w, -1)
                 z = z * w
             if bias != None:
                 b = bias
                 for i in range(x.ndim - 2):
                     b = unsqueeze(b, -1)
                 z = z + b
             z"""
_WEIGHTED = """
    if weight != None:
        w = weight
        for i in range(x.ndim - 2):
            w = unsqueeze(w, -1)
        g = g * w"""
_BY_CHANNEL = "z = movedim(z, 1, -1); sum(reshape(z, (-1, z.shape[-1])), 0)"
composed("group_norm(x, num_groups: int, weight: tensor = None, bias: tensor = None, eps: number = 1e-05)",
         torch="nn.functional.group_norm(x, num_groups, weight, bias, eps)",
         ref=("n = numel(x) // (x.shape[0] * num_groups); z = standardized(x, n, eps)", _AFFINE),
         vjp={"x": ("n = numel(x) // (x.shape[0] * num_groups)", _WEIGHTED,
                    "standardized_rule(g, x, n, eps)"),
              "weight": ("z = g * standardized(x, numel(x) // (x.shape[0] * num_groups), eps)", _BY_CHANNEL),
              "bias": ("z = g", _BY_CHANNEL)},
         samples=("group_norm(x, 2) | x(2,4,3)", "group_norm(x, 2, w, b) | x(2,4,3) w(4) b(4)",
                  "group_norm(x, 1, w) | x(2,2,2,2) w(2)"),
         example="'group_norm(x, 1, eps=0)' x='[[-1, 0, 1]]' --seed '[[1, 0, 0]]' "
                 "-> x = [[0.2041241, -0.4082483, 0.2041241]]")
composed("instance_norm(x, running_mean: constant = None, running_var: constant = None, "
         "weight: tensor = None, bias: tensor = None, use_input_stats: flag = True, momentum: number = 0.1, "
         "eps: number = 1e-05)",
         requires={"running_mean == None and running_var == None and use_input_stats":
                   "running statistics are not supported"},
         torch="nn.functional.instance_norm(x, None, None, weight, bias, True, momentum, eps)",
         ref="group_norm(x, x.shape[1], weight, bias, eps)",
         vjp={"x": ("n = numel(x) // (x.shape[0] * x.shape[1])", _WEIGHTED,
                    "standardized_rule(g, x, n, eps)"),
              "weight": ("z = g * standardized(x, numel(x) // (x.shape[0] * x.shape[1]), eps)", _BY_CHANNEL),
              "bias": ("z = g", _BY_CHANNEL)},
         samples=("instance_norm(x) | x(2,2,3)", "instance_norm(x, weight=w, bias=b) | x(2,2,3) w(2) b(2)"),
         example="'instance_norm(x, eps=0)' x='[[[-1, 0, 1]]]' --seed '[[[1, 0, 0]]]' "
                 "-> x = [[[0.2041241, -0.4082483, 0.2041241]]]")
composed("batch_norm(x, running_mean: constant, running_var: constant, weight: tensor = None, "
         "bias: tensor = None, training: flag = False, momentum: number = 0.1, eps: number = 1e-05)",
         requires={"not training": "training mode changes the running statistics; pass training=False"},
         torch="nn.functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, "
               "eps)",
         ref=(_CHANNELS.format("running_mean"), "z = x - p", _CHANNELS.format("running_var"),
              "z = z / sqrt(p + eps)", _AFFINE),
         size="numel(x)",
         vjp={"x": (_WEIGHTED, _CHANNELS.format("running_var"), "g / sqrt(p + eps)"),
              "weight": (_CHANNELS.format("running_mean"), "z = g * (x - p)",
                         _CHANNELS.format("running_var"), "z = z / sqrt(p + eps)", _BY_CHANNEL),
              "bias": ("z = g", _BY_CHANNEL)},
         samples=("batch_norm(x, [0.1, -0.2, 0.3], [1, 2, 0.5]) | x(2,3)",
                  "batch_norm(x, zeros(3), ones(3), w, b) | x(2,3,4) w(3) b(3)",
                  "batch_norm(x, zeros(2), full((2,), 4.0), w, eps=0.1) | x(1,2,2,2) w(2)"),
         example="'batch_norm(x, [1], [4], eps=0)' x='[[3]]' --seed '[[1]]' -> x = [[0.5]]")
_RMS = (_RUN, """z = reshape(x, (numel(x) // n, n))
                 s = sqrt(mean(z * z, 1, True) + (2.220446049250313e-16 if eps == None else eps))""")
composed("rms_norm(x, normalized_shape: shape, weight: tensor = None, eps: number = None)",
         formula="x / sqrt(mean(x²) + eps) * weight",
         note="without eps torch takes that of the dtype; the reference takes float64's",
         torch="nn.functional.rms_norm(x, normalized_shape, weight, eps)",
         ref=(_RMS, "z = reshape(z / s, x.shape); z if weight == None else z * weight"),
         vjp={"x": (_RMS, """h = z / s
                             d = reshape(g if weight == None else g * weight, z.shape)
                             reshape((d - h * mean(d * h, 1, True)) / s, x.shape)"""),
              "weight": (_RMS, "g * reshape(z / s, x.shape)")},
         samples=("rms_norm(x, (3,), eps=0.01) | x(2,3)",
                  "rms_norm(x, (2, 3), w, eps=0.1) | x(4,2,3) w(2,3)"),
         example="'rms_norm(x, (2,), eps=0)' x='[3, 3]' --seed '[1, 0]' -> x = [0.1666667, -0.1666667]")

# ---- attention and pictures --------------------------------------------------------------------------------
family("Attention", source="A. Vaswani and others, Attention is all you need, 2017")
array("additive_mask(x)", torch="", numpy="kernels.additive_mask", complex="numpy", mixes="moves",
      hidden=True, note="a mask as 0 and -inf")
composed("attention_weights(q, k, attn_mask: tensor = None, is_causal: flag = False, scale: number = None)",
         torch="", hidden=True, size="1",
         ref="""s = q @ k.mT * (q.shape[-1] ** -0.5 if scale == None else scale)
                s = where(tril(ones(q.shape[-2], k.shape[-2])) == 0, -inf, s) if is_causal else s
                s = s if attn_mask == None else s + additive_mask(attn_mask)
                where(isneginf(detach(amax(s, -1, True))), 0, softmax(s, -1))""",
         note="a row that is masked throughout has the weights 0, as in torch")
_P = "p = attention_weights(query, key, attn_mask, is_causal, scale)"
_S = (_P, "d = g @ value.mT; s = p * (d - sum(p * d, -1, True))")
_SCALE = "(query.shape[-1] ** -0.5 if scale == None else scale)"
composed("scaled_dot_product_attention(query, key, value, attn_mask: tensor = None, dropout_p: number = 0, "
         "is_causal: flag = False, scale: number = None)",
         requires={"dropout_p == 0": "dropout is random; dropout_p must be 0"},
         torch="nn.functional.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, "
               "is_causal, scale=scale)",
         ref="attention_weights(query, key, attn_mask, is_causal, scale) @ value",
         formula="softmax(q kᵀ / sqrt(width) + mask) v",
         vjp={"query": (_S, f"s @ key * {_SCALE}"), "key": (_S, f"s.mT @ query * {_SCALE}"),
              "value": (_P, "p.mT @ g"), "attn_mask": (_S, "s")},
         samples=("scaled_dot_product_attention(q, k, v) | q(2,3) k(4,3) v(4,2)",
                  "scaled_dot_product_attention(q, k, v, is_causal=True) | q(2,3,3) k(2,3,3) v(2,3,3)",
                  "scaled_dot_product_attention(q, k, v, m) | q(1,2,3,2) k(1,2,4,2) v(1,2,4,2) m(3,4)",
                  "scaled_dot_product_attention(q, k, v, attn_mask=tensor([[True, False], [True, True]]), "
                  "scale=0.3) | q(1,2,3) k(1,2,3) v(1,2,3)"),
         example="'scaled_dot_product_attention(q, k, v)' q='[[1]]' k='[[2]]' v='[[3]]' --seed '[[1]]' "
                 "-> q = [[0]]; k = [[0]]; v = [[1]]")
family("Pictures", source="the transpose of moving elements")
for _name, _factor, _shape in [
    ("pixel_shuffle", "upscale_factor", "1,8,2,3"), ("pixel_unshuffle", "downscale_factor", "2,4,6"),
]:
    movement(f"{_name}(x, {_factor}: int)", torch=f"nn.functional.{_name}(x, {_factor})",
             numpy=f"kernels.{_name}(x, {_factor})", samples=f"{_name}(x, 2) | x({_shape})",
             vjp={"x": f"accumulate(g, {_name}(positions(x), {_factor}), x)"},
             example=f"'{_name}(x, 1)' x='[[[1, 2]]]' --seed '[[[3, 4]]]' -> x = [[[3, 4]]]")
movement("interpolate(x, size: ints = None, scale_factor: number = None, mode: text = 'nearest')",
         torch="nn.functional.interpolate(x, size, scale_factor, mode)",
         numpy="kernels.interpolate(x, size, scale_factor)",
         requires={"mode == 'nearest'": "of the modes only 'nearest' is supported"},
         vjp={"x": "accumulate(g, interpolate(positions(x), size, scale_factor), x)"},
         samples=("interpolate(x, scale_factor=2) | x(1,2,3)", "interpolate(x, size=(3, 5)) | x(1,2,2,3)",
                  "interpolate(x, scale_factor=0.5) | x(1,1,4,6)"),
         example="'interpolate(x, scale_factor=2)' x='[[[1, 2]]]' --seed '[[[1, 2, 3, 4]]]' "
                 "-> x = [[[3, 7]]]")

# ---- losses ------------------------------------------------------------------------------------------------
# ``reduction`` is the same in all of them: l is the loss of each element, h what each element receives of g
family("Losses", source="torch derivatives.yaml")
_REDUCED = "mean(l) if reduction == 'mean' else sum(l) if reduction == 'sum' else l"
_H = "h = g / max(numel(x), 1) if reduction == 'mean' else g"
_REDUCTION = {"reduction == 'mean' or reduction == 'sum' or reduction == 'none'":
              "reduction is 'mean', 'sum' or 'none'"}
_SHAPED = {"x.shape == target.shape": "the input and the target must have one shape", **_REDUCTION}


def _loss_samples(call: str, shapes: str = "x(2,3) t(2,3)", options: tuple[str, ...] = ()) -> tuple[str, ...]:
    reductions = ("", ", reduction='sum'", ", reduction='none'")
    return tuple(f"{call[:-1]}{option}) | {shapes}" for option in (*reductions, *(f", {o}" for o in options)))


composed("mse_loss(x, target, reduction: text = 'mean')",
         torch="nn.functional.mse_loss(x, target, reduction=reduction)", requires=_SHAPED,
         ref=("l = (x - target) * (x - target)", _REDUCED), formula="(x - target)²",
         vjp={"x": (_H, "2 * h * (x - target)"), "target": (_H, "-2 * h * (x - target)")},
         samples=_loss_samples("mse_loss(x, t)"),
         example="'mse_loss(x, t)' x='[1, 2]' t='[0, 4]' -> x = [1, -2]; t = [-1, 2]")
composed("l1_loss(x, target, reduction: text = 'mean')",
         torch="nn.functional.l1_loss(x, target, reduction=reduction)", requires=_SHAPED,
         ref=("l = abs(x - target)", _REDUCED), formula="|x - target|", kinks="x == target",
         convention="0 where both are equal",
         vjp={"x": (_H, "h * sign(x - target)"), "target": (_H, "-h * sign(x - target)")},
         samples=_loss_samples("l1_loss(x, t)"),
         example="'l1_loss(x, t)' x='[1, 2]' t='[0, 4]' -> x = [0.5, -0.5]; t = [-0.5, 0.5]")
_SMOOTH = "where(abs(x - target) < beta, (x - target) / max(beta, 1e-300), sign(x - target))"
composed("smooth_l1_loss(x, target, reduction: text = 'mean', beta: number = 1)", requires=_SHAPED,
         torch="nn.functional.smooth_l1_loss(x, target, reduction=reduction, beta=beta)",
         kinks="(x == target) & (beta == 0)",
         ref=("""d = x - target
                 l = where(abs(d) < beta, d * d / (2 * max(beta, 1e-300)), abs(d) - beta / 2)""", _REDUCED),
         vjp={"x": (_H, f"h * {_SMOOTH}"), "target": (_H, f"-h * {_SMOOTH}")},
         samples=_loss_samples("smooth_l1_loss(x, t)", options=("beta=0.5", "beta=0")),
         example="'smooth_l1_loss(x, t)' x='[1, 2]' t='[0.5, 4]' -> x = [0.25, -0.5]; t = [-0.25, 0.5]")
_HUBER = "where(abs(x - target) <= delta, x - target, delta * sign(x - target))"
composed("huber_loss(x, target, reduction: text = 'mean', delta: number = 1)", requires=_SHAPED,
         torch="nn.functional.huber_loss(x, target, reduction=reduction, delta=delta)",
         ref=("""d = x - target
                 l = where(abs(d) <= delta, d * d / 2, delta * (abs(d) - delta / 2))""", _REDUCED),
         vjp={"x": (_H, f"h * {_HUBER}"), "target": (_H, f"-h * {_HUBER}")},
         samples=_loss_samples("huber_loss(x, t)", options=("delta=0.5",)),
         example="'huber_loss(x, t)' x='[1, 2]' t='[0.5, 4]' -> x = [0.25, -0.5]; t = [-0.25, 0.5]")
_CLASSES = """dim = 1 if x.ndim > 1 else 0
              n = x.shape[dim]
              w = ones(n) if weight == None else weight
              for i in range(x.ndim - 2):
                  w = unsqueeze(w, -1)"""
composed("class_weights(x, target: target, weight: constant = None, ignore_index: int = -100, "
         "label_smoothing: number = 0)",
         torch="", hidden=True, size="numel(x)",
         note="how much the negative log-likelihood of each class weighs",
         ref=(_CLASSES, """if target.shape == x.shape:
                               q = target * (1 - label_smoothing)
                           else:
                               kept = unsqueeze(target != ignore_index, dim)
                               t = one_hot(long(where(target == ignore_index, 0, target)), n)
                               q = movedim(t, -1, dim) * (1 - label_smoothing) * kept
                               w = w * kept
                               if label_smoothing != 0:
                                   q = q * w / where(w == 0, 1, w)
                           if target.shape == x.shape:
                               q = (q + label_smoothing / n) * w
                           else:
                               q = q * w + label_smoothing / n * w
                           q"""))
_WEIGHT = "weight=tensor([1.0, 2.0, 0.5])"
_CE = "dim = 1 if x.ndim > 1 else 0; q = class_weights(x, target, weight, ignore_index, {0})"
_CE_SCALE = """if reduction == 'mean':
                   h = g / ({0})
               else:
                   h = unsqueeze(g, dim) if reduction == 'none' else g"""
_CE_SHARE = ("numel(x) / n if target.shape == x.shape else sum(class_weights(x, target, weight, "
             "ignore_index, 0))")
composed("cross_entropy(x, target: target, weight: constant = None, ignore_index: int = -100, "
         "reduction: text = 'mean', label_smoothing: number = 0)",
         torch="nn.functional.cross_entropy(x, target, weight, ignore_index=ignore_index, "
               "reduction=reduction, label_smoothing=label_smoothing)",
         requires=_REDUCTION, size="numel(x)", formula="-Σ target · log(softmax(x)) over the classes",
         note="the target holds class numbers (whole numbers, one dimension less) or probabilities (shaped "
              "like the input)",
         ref=(_CE.format("label_smoothing"),
              f"""n = x.shape[dim]
                  p = log_softmax(x, dim)
                  l = -sum(q * p if target.shape == x.shape else where(q == 0, 0, q * p), dim)
                  sum(l) / ({_CE_SHARE}) if reduction == 'mean' else sum(l) if reduction == 'sum' else l"""),
         vjp={"x": (_CE.format("label_smoothing"), "n = x.shape[dim]", _CE_SCALE.format(_CE_SHARE),
                    "h * (sum(q, dim, True) * softmax(x, dim) - q)"),
              "target": (_CLASSES, _CE_SCALE.format("numel(x) / n"),
                         "-h * (1 - label_smoothing) * w * log_softmax(x, dim)")},
         samples=(*_loss_samples("cross_entropy(x, tensor([0, 2]))", "x(2,3)", (
                      "label_smoothing=0.1", _WEIGHT, "ignore_index=2", _WEIGHT + ", label_smoothing=0.2",
                      _WEIGHT + ", label_smoothing=0.2, ignore_index=0")),
                  *_loss_samples("cross_entropy(x, t)", "x(2,3) t(2,3)", (
                      "label_smoothing=0.1", _WEIGHT + ", label_smoothing=0.2")),
                  "cross_entropy(x, tensor(1)) | x(3)",
                  "cross_entropy(x, tensor([[0, 1], [1, 1]]), weight=tensor([0.3, 2.0])) | x(2,2,2)"),
         example="'cross_entropy(x, [0])' x='[[0, 0]]' -> x = [[-0.5, 0.5]]")
composed("nll_loss(x, target: indices, weight: constant = None, ignore_index: int = -100, "
         "reduction: text = 'mean')",
         torch="nn.functional.nll_loss(x, target, weight, ignore_index=ignore_index, reduction=reduction)",
         requires=_REDUCTION, size="numel(x)",
         ref=(_CE.format("0"),
              """l = -sum(where(q == 0, 0, q * x), dim)
                 sum(l) / sum(q) if reduction == 'mean' else sum(l) if reduction == 'sum' else l"""),
         vjp={"x": (_CE.format("0"), _CE_SCALE.format("sum(q)"), "-h * q")},
         samples=(*_loss_samples("nll_loss(x, tensor([0, 2]))", "x(2,3)", (_WEIGHT, "ignore_index=2")),
                  "nll_loss(x, tensor([[0, 1], [1, 1]])) | x(2,2,2)", "nll_loss(x, tensor(1)) | x(3)"),
         example="'nll_loss(x, [1])' x='[[-1, -2]]' -> x = [[0, -1]]")
_BCE_H = (_H, "h = (1 if weight == None else weight) * h")
composed("binary_cross_entropy(x, target, weight: constant = None, reduction: text = 'mean')",
         domain={"x": "(0, 1)", "t": "(0, 1)"}, requires=_SHAPED,
         torch="nn.functional.binary_cross_entropy(x, target, weight, reduction=reduction)",
         ref=("""l = -(target * maximum(log(x), -100) + (1 - target) * maximum(log1p(-x), -100))
                 l = l if weight == None else l * weight""", _REDUCED),
         kinks="(x == 0) | (x == 1)", convention="each logarithm is at least -100",
         formula="-(target log(x) + (1 - target) log(1 - x))",
         vjp={"x": (_BCE_H, "h * (x - target) / clamp(x * (1 - x), 1e-12)"),
              "target": (_BCE_H, "h * (maximum(log1p(-x), -100) - maximum(log(x), -100))")},
         samples=_loss_samples("binary_cross_entropy(x, t)", options=("weight=tensor([1.0, 2.0, 0.5])",)),
         example="'binary_cross_entropy(x, t)' x='[0.5]' t='[1]' -> x = [-2]; t = [0]")
composed("binary_cross_entropy_with_logits(x, target, weight: constant = None, reduction: text = 'mean', "
         "pos_weight: constant = None)",
         torch="nn.functional.binary_cross_entropy_with_logits(x, target, weight, reduction=reduction, "
               "pos_weight=pos_weight)",
         requires=_SHAPED,
         ref=("""p = 1 if pos_weight == None else 1 + (pos_weight - 1) * target
                 l = (1 - target) * x + p * where(x >= 0, log1p(exp(-x)), log1p(exp(x)) - x)
                 l = l if weight == None else l * weight""", _REDUCED),
         formula="-(target log(sigmoid(x)) + (1 - target) log(1 - sigmoid(x)))",
         vjp={"x": (_BCE_H, """p = 1 if pos_weight == None else 1 + (pos_weight - 1) * target
                               h * (1 - target - p * sigmoid(-x))"""),
              "target": (_BCE_H, """s = where(x >= 0, log1p(exp(-x)), log1p(exp(x)) - x)
                                    h * ((0 if pos_weight == None else pos_weight - 1) * s - x)""")},
         samples=_loss_samples("binary_cross_entropy_with_logits(x, t)",
                               options=("weight=tensor([1.0, 2.0, 0.5])",
                                        "pos_weight=tensor([1.0, 2.0, 0.5])")),
         example="'binary_cross_entropy_with_logits(x, t)' x='[0]' t='[1]' -> x = [-0.5]; t = [0]")
_KL_H = ("h = g / max(numel(x), 1) if reduction == 'mean' else g / x.shape[0] if reduction == 'batchmean' "
         "else g")
composed("kl_div(x, target, reduction: text = 'mean', log_target: flag = False)",
         torch="nn.functional.kl_div(x, target, reduction=reduction, log_target=log_target)",
         requires={"x.shape == target.shape": "the input and the target must have one shape",
                   "reduction == 'batchmean' or reduction == 'mean' or reduction == 'sum' or "
                   "reduction == 'none'": "reduction is 'mean', 'batchmean', 'sum' or 'none'"},
         ref=("l = exp(target) * (target - x) if log_target else xlogy(target, target) - target * x",
              f"sum(l) / x.shape[0] if reduction == 'batchmean' else {_REDUCED}"),
         domain={"t": "(0, inf)"}, kinks="(target == 0) & (not log_target)",
         formula="target (log(target) - x)",
         vjp={"x": (_KL_H, "-h * (exp(target) if log_target else target)"),
              "target": (_KL_H,
                         "h * (exp(target) * (target - x + 1) if log_target else log(target) + 1 - x)")},
         samples=_loss_samples("kl_div(x, t)", options=("reduction='batchmean'", "log_target=True")),
         example="'kl_div(x, t)' x='[0]' t='[1]' -> x = [-1]; t = [1]")
composed("poisson_nll_loss(x, target, log_input: flag = True, full: flag = False, eps: number = 1e-08, "
         "reduction: text = 'mean')",
         torch="nn.functional.poisson_nll_loss(x, target, log_input, full, eps=eps, reduction=reduction)",
         domain="(0, inf)",
         requires={"not full": "Stirling's terms (full=True) are not supported", **_SHAPED},
         ref=("l = exp(x) - target * x if log_input else x - target * log(x + eps)", _REDUCED),
         vjp={"x": (_H, "h * (exp(x) - target if log_input else 1 - target / (x + eps))"),
              "target": (_H, "-h * (x if log_input else log(x + eps))")},
         samples=_loss_samples("poisson_nll_loss(x, t)", options=("log_input=False",)),
         example="'poisson_nll_loss(x, t)' x='[0]' t='[3]' -> x = [-2]; t = [0]")
_GAUSS = "v = clamp(var, eps); v = unsqueeze(v, -1) if v.ndim < x.ndim else v"
composed("gaussian_nll_loss(x, target, var, full: flag = False, eps: number = 1e-06, "
         "reduction: text = 'mean')",
         torch="nn.functional.gaussian_nll_loss(x, target, var, full, eps, reduction)",
         domain={"v": "(0, inf)"}, requires=_SHAPED,
         ref=("""v = var + detach(maximum(var, eps) - var)
                 v = unsqueeze(v, -1) if v.ndim < x.ndim else v
                 l = (log(v) + (x - target) * (x - target) / v) / 2 + (log(2 * pi) / 2 if full else 0)""",
              _REDUCED),
         note="as torch has it, the derivative ignores that the variance is raised to eps at least",
         vjp={"x": (_H, _GAUSS, "h * (x - target) / v"),
              "target": (_H, _GAUSS, "-h * (x - target) / v"),
              "var": (_H, _GAUSS, """d = h * (1 / v - ((x - target) / v) ** 2) / 2
                                     sum(d, -1) if var.ndim < x.ndim else d""")},
         samples=(*_loss_samples("gaussian_nll_loss(x, t, v)", "x(2,3) t(2,3) v(2,3)", ("full=True",)),
                  "gaussian_nll_loss(x, t, v) | x(2,3) t(2,3) v(2,1)"),
         example="'gaussian_nll_loss(x, t, v)' x='[1]' t='[0]' v='[2]' -> x = [0.5]; t = [-0.5]; v = [0.125]")
composed("soft_margin_loss(x, target: constant, reduction: text = 'mean')",
         torch="nn.functional.soft_margin_loss(x, target, reduction=reduction)", requires=_SHAPED,
         ref=("z = target * x; l = where(z >= 0, log1p(exp(-z)), log1p(exp(z)) - z)", _REDUCED),
         formula="log(1 + exp(-target x))", vjp={"x": (_H, "-h * target * sigmoid(-target * x)")},
         samples=_loss_samples("soft_margin_loss(x, tensor([1.0, -1, 1]))", "x(3)"),
         example="'soft_margin_loss(x, [1.0])' x='[0]' -> x = [-0.5]")
composed("hinge_embedding_loss(x, target: constant, margin: number = 1, reduction: text = 'mean')",
         requires=_SHAPED,
         torch="nn.functional.hinge_embedding_loss(x, target, margin, reduction=reduction)",
         kinks="(x == margin) & (target == -1)",
         ref=("l = where(target == 1, x, where(x < margin, margin - x, 0))", _REDUCED),
         convention="-1 at the margin",
         vjp={"x": (_H, "h * where(target == 1, 1, where(x <= margin, -1, 0))")},
         samples=_loss_samples("hinge_embedding_loss(x, tensor([1.0, -1, -1]))", "x(3)", ("margin=0.5",)),
         example="'hinge_embedding_loss(x, [-1.0])' x='[0.5]' -> x = [-1]")
composed("margin_ranking_loss(a|input1, b|input2, target: constant, margin: number = 0, "
         "reduction: text = 'mean')",
         requires=_REDUCTION,
         torch="nn.functional.margin_ranking_loss(a, b, target, margin, reduction=reduction)",
         kinks="target * (a - b) == margin", convention="-target at the margin",
         ref=("z = margin - target * (a - b); l = where(z > 0, z, 0)", _REDUCED),
         vjp={"a": (_H.replace("(x)", "(a)"), "-h * target * (margin >= target * (a - b))"),
              "b": (_H.replace("(x)", "(a)"), "h * target * (margin >= target * (a - b))")},
         samples=_loss_samples("margin_ranking_loss(a, b, tensor([1.0, -1, 1]))", "a(3) b(3)",
                               ("margin=0.5",)),
         example="'margin_ranking_loss(a, b, [1.0])' a='[1]' b='[2]' -> a = [-1]; b = [1]")
_COSINE = """m = sum(a * a, -1) + 1e-12
             n = sum(b * b, -1) + 1e-12
             c = sum(a * b, -1) / sqrt(m * n)"""
_COSINE_H = (_H.replace("(x)", "(c)"),
             "h = unsqueeze(h * where(target == 1, -1, where(c >= margin, 1, 0)), -1)",
             "m = unsqueeze(m, -1); n = unsqueeze(n, -1); c = unsqueeze(c, -1)")
composed("cosine_embedding_loss(a|input1, b|input2, target: constant, margin: number = 0, "
         "reduction: text = 'mean')",
         requires=_REDUCTION, size="numel(a)",
         torch="nn.functional.cosine_embedding_loss(a, b, target, margin, reduction=reduction)",
         ref=(_COSINE, "l = where(target == 1, 1 - c, where(c > margin, c - margin, 0))", _REDUCED),
         kinks=(_COSINE, "(target == -1) & (c == margin)"),
         vjp={"a": (_COSINE, _COSINE_H, "h * (b / sqrt(m * n) - c * a / m)"),
              "b": (_COSINE, _COSINE_H, "h * (a / sqrt(m * n) - c * b / n)")},
         samples=_loss_samples("cosine_embedding_loss(a, b, tensor([1.0, -1]))", "a(2,3) b(2,3)",
                               ("margin=-0.5",)),
         example="'cosine_embedding_loss(a, b, [1.0])' a='[[1, 0]]' b='[[0, 2]]' -> a = [[0, -1]]; "
                 "b = [[-0.5, 0]]")
_APART = """m = vector_norm(anchor - positive + eps, p, -1)
            n = vector_norm(anchor - negative + eps, p, -1)"""
_TRIPLET = """d = anchor - positive + eps
              f = anchor - negative + eps
              m = vector_norm(d, p, -1, True)
              n = vector_norm(f, p, -1, True)
              h = g / max(numel(m), 1) if reduction == 'mean' else g
              h = (unsqueeze(h, -1) if reduction == 'none' else h) * (margin + m >= n)
              d = sign(d) * (abs(d) / m) ** (p - 1)
              f = sign(f) * (abs(f) / n) ** (p - 1)"""
composed("triplet_margin_loss(anchor, positive, negative, margin: number = 1, p: number = 2, "
         "eps: number = 1e-06, swap: flag = False, reduction: text = 'mean')",
         torch="nn.functional.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, "
               "reduction=reduction)",
         requires={"not swap": "swap=True is not supported", **_REDUCTION}, size="numel(anchor)",
         ref=(_APART, "l = margin + m - n; l = where(l > 0, l, 0)", _REDUCED),
         kinks=(_APART, "(m == 0) | (n == 0) | (margin + m == n)"),
         convention="at the margin as inside of it",
         vjp={"anchor": (_TRIPLET, "h * (d - f)"), "positive": (_TRIPLET, "-h * d"),
              "negative": (_TRIPLET, "h * f")},
         samples=_loss_samples("triplet_margin_loss(a, b, c)", "a(2,3) b(2,3) c(2,3)",
                               ("margin=3", "p=3, margin=4")),
         example="'triplet_margin_loss(a, b, c, eps=0)' a='[[3, 4]]' b='[[0, 0]]' c='[[3, 5]]' "
                 "-> a = [[0.6, 1.8]]; b = [[-0.6, -0.8]]; c = [[0, -1]]")
