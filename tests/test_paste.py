"""Expressions pasted from PyTorch's and NumPy's documentation: both engines run them alike or say why not.

Where a page draws random numbers into a variable, the variable is an input here. RUNS holds (expression, its
inputs' shapes); REFUSED holds (expression, the whole message).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.language import interpret as language
from vjpcalc.language import syntax

# fmt: off
RUNS = [
    # torch: reductions and scans
    ("torch.sum(a)", "a(1,3)"),
    ("torch.sum(a, 1)", "a(4,4)"),
    ("torch.sum(b, (2, 1))", "b(4,5,6)"),
    ("torch.mean(a, 1, True)", "a(4,4)"),
    ("torch.mean(input, dim=0)", "input(4,4)"),
    ("torch.max(a, 1).values", "a(4,4)"),
    ("torch.max(a, dim=1, keepdim=True)[0]", "a(4,4)"),
    ("torch.max(a, b)", "a(4) b(4)"),
    ("torch.amax(a, 1)", "a(4,4)"),
    ("torch.logsumexp(a, 1)", "a(3,3)"),
    ("torch.prod(a, 1)", "a(4,2)"),
    ("torch.std(a, dim=1, keepdim=True)", "a(4,4)"),
    ("torch.var(a, dim=1, keepdim=True)", "a(4,4)"),
    ("torch.var_mean(a, dim=0, keepdim=True)[1]", "a(4,4)"),
    ("torch.median(a, 1).values", "a(4,5)"),
    ("torch.norm(a)", "a(9)"),
    ("torch.norm(d, dim=(1, 2))", "d(2,2,2)"),
    ("torch.cumsum(a, dim=0)", "a(10)"),
    ("torch.cumprod(a, dim=0)", "a(10)"),
    ("x.sum().sqrt()", "x+(3)"),
    ("x.pow(2).sum()", "x(3)"),
    # torch: products and linear algebra
    ("torch.matmul(tensor1, tensor2)", "tensor1(10,3,4) tensor2(4)"),
    ("torch.mm(mat1, mat2)", "mat1(2,3) mat2(3,3)"),
    ("torch.bmm(input, mat2)", "input(10,3,4) mat2(10,4,5)"),
    ("torch.mv(mat, vec)", "mat(2,3) vec(3)"),
    ("torch.dot(input=torch.tensor([2, 3]) * x, other=torch.tensor([2, 1]) * x)", "x(2)"),
    ("torch.outer(v1, v2)", "v1(4) v2(3)"),
    ("torch.addmm(M, mat1, mat2)", "M(2,3) mat1(2,3) mat2(3,3)"),
    ("torch.baddbmm(M, batch1, batch2, beta=0.5)", "M(10,3,5) batch1(10,3,4) batch2(10,4,5)"),
    ("torch.einsum('ii', x)", "x(4,4)"),
    ("torch.einsum('ii->i', x)", "x(4,4)"),
    ("torch.einsum('i,j->ij', x, y)", "x(5) y(4)"),
    ("torch.einsum('bij,bjk->bik', As, Bs)", "As(3,2,5) Bs(3,5,4)"),
    ("torch.einsum('...ij->...ji', A)", "A(2,3,4,5)"),
    ("torch.einsum('bn,anm,bm->ba', l, A, r)", "l(2,5) A(3,5,4) r(2,4)"),
    ("torch.tensordot(a, b, dims=([1, 0], [0, 1]))", "a(3,4,5) b(4,3,2)"),
    ("torch.kron(mat1, mat2)", "mat1(2,2) mat2(2,3)"),
    ("torch.trace(x)", "x(3,3)"),
    ("torch.linalg.cross(a, b)", "a(4,3) b(4,3)"),
    ("torch.linalg.det(A)", "A(3,3)"),
    ("torch.linalg.slogdet(A).logabsdet", "A(3,3)"),
    ("torch.linalg.inv(A @ A.mT + torch.eye(4))", "A(4,4)"),
    ("torch.linalg.solve(A @ A.mT + torch.eye(3), b)", "A(3,3) b(3)"),
    ("torch.linalg.pinv(A)", "A(3,5)"),
    ("torch.linalg.matrix_power(A, 3)", "A(3,3)"),
    ("torch.linalg.matrix_exp(A)", "A(2,2,2)"),
    ("A = A @ A.T + torch.eye(2)\nL = torch.linalg.cholesky(A)\nL @ L.T.conj()", "A(2,2)"),
    ("torch.linalg.eigvalsh(A + A.T)", "A(2,2)"),
    ("torch.linalg.svdvals(A)", "A(5,3)"),
    ("torch.linalg.matrix_norm(A, ord='nuc')", "A(3,3)"),
    ("torch.linalg.vector_norm(a, ord=3.5)", "a(9)"),
    ("torch.linalg.multi_dot((A, B, C))", "A(2,3) B(3,4) C(4,5)"),
    ("torch.cdist(a, b, p=2)", "a(3,2) b(2,2)"),
    # torch: shapes and indices
    ("torch.reshape(b, (-1,))", "b(2,2)"),
    ("x.view(-1, 8)", "x(4,4)"),
    ("torch.cat((x, x, x), 1)", "x(2,3)"),
    ("torch.stack((x, x), dim=-1)", "x(2,3)"),
    ("torch.chunk(x, 6)[1]", "x(11)"),
    ("torch.split(a, [1, 4])[1]", "a(5,2)"),
    ("torch.gather(t, 1, torch.tensor([[0, 0], [1, 0]]))", "t(2,2)"),
    ("torch.index_select(x, 0, torch.tensor([0, 2]))", "x(3,4)"),
    ("torch.masked_select(x, x.ge(0.5))", "x(3,4)"),
    ("torch.take(src, torch.tensor([0, 2, 5]))", "src(2,3)"),
    ("torch.roll(x, shifts=(2, 1), dims=(0, 1))", "x(4,2)"),
    ("torch.flip(x, [0, 1])", "x(2,2,2)"),
    ("torch.rot90(x, 1, [0, 1])", "x(2,2)"),
    ("x.unfold(0, 2, 1)", "x(7)"),
    ("x.expand(-1, 4)", "x(3,1)"),
    ("x.repeat(4, 2, 1)", "x(3)"),
    ("torch.repeat_interleave(y, torch.tensor([1, 2]), dim=0)", "y(2,2)"),
    ("torch.permute(x, (2, 0, 1))", "x(2,3,5)"),
    ("torch.topk(x, 3).values", "x(5)"),
    ("torch.sort(x, 0)[0]", "x(3,4)"),
    ("torch.zeros(2, 4, dtype=torch.float64).scatter_add(0, torch.tensor([[0, 1, 2 - 1, 0]]), src)",
     "src(2,4)"),
    ("torch.where(x > 0, x, 0.)", "x(3,2)"),
    ("torch.tril(a, diagonal=1)", "a(4,6)"),
    ("torch.diagonal(x, offset=-1, dim1=1, dim2=2)", "x(2,5,4,2)"),
    ("torch.diag_embed(a, offset=1, dim1=0, dim2=2)", "a(2,3)"),
    # torch.nn.functional
    ("F.cross_entropy(input, torch.tensor([1, 0, 4]))", "input(3,5)"),
    ("F.cross_entropy(input, target.softmax(dim=1))", "input(3,5) target(3,5)"),
    ("F.nll_loss(F.log_softmax(input, dim=1), torch.tensor([1, 0, 4]))", "input(3,5)"),
    ("F.binary_cross_entropy(torch.sigmoid(input), target)", "input(3,2) target+(3,2)"),
    ("F.binary_cross_entropy_with_logits(input, target)", "input(3) target+(3)"),
    ("F.kl_div(F.log_softmax(input, dim=1), F.softmax(target, dim=1), reduction=\"batchmean\")",
     "input(3,5) target(3,5)"),
    ("F.conv2d(inputs, filters, padding=1)", "inputs(1,4,5,5) filters(8,4,3,3)"),
    ("F.conv1d(inputs, filters)", "inputs(3,4,5) filters(3,4,3)"),
    ("F.conv_transpose2d(inputs, weights, padding=1)", "inputs(1,4,5,5) weights(4,8,3,3)"),
    ("F.avg_pool1d(input, kernel_size=3, stride=2)", "input(1,1,7)"),
    ("F.max_pool2d(input, 2)", "input(1,1,4,4)"),
    ("F.pad(t4d, (1, 1), \"constant\", 0)", "t4d(3,3,4,2)"),
    ("torch.nn.functional.layer_norm(x, (10,))", "x(2,10)"),
    ("F.scaled_dot_product_attention(query, key, value, is_causal=True)",
     "query(2,2,3,4) key(2,2,3,4) value(2,2,3,4)"),
    ("F.embedding(torch.tensor([[1, 2, 4, 5], [4, 3, 2, 9]]), embedding_matrix)", "embedding_matrix(10,3)"),
    ("F.normalize(x, p=2.0, dim=1)", "x(3,4)"),
    ("F.cosine_similarity(input1, input2)", "input1(5,4) input2(5,4)"),
    # numpy
    ("np.linalg.norm(a)", "a(9)"),
    ("np.linalg.norm(c, axis=0)", "c(2,3)"),
    ("np.sum(x, axis=0)", "x(2,2)"),
    ("np.dot(a, b)", "a(2,2) b(2,2)"),
    ("np.inner(a, b)", "a(2,3,4) b(4)"),
    ("np.tensordot(a, b, axes=([1, 0], [0, 1]))", "a(3,4,5) b(4,3,2)"),
    ("np.einsum('ij,j', a, b)", "a(5,5) b(5)"),
    ("np.einsum('ki,jk->ij', a, b)", "a(4,3) b(2,4)"),
    ("np.concatenate((a, b.T), axis=1)", "a(2,2) b(1,2)"),
    ("np.vstack((a, b))", "a(3) b(3)"),
    ("np.linalg.det(a)", "a(2,2)"),
    ("np.linalg.multi_dot([A, B, C])", "A(3,4) B(4,2) C(2,3)"),
    ("np.repeat(x, 3, axis=1)", "x(2,2)"),
    ("np.tile(b, (2, 1))", "b(2,2)"),
    ("np.moveaxis(x, 0, -1)", "x(3,4,5)"),
    ("np.swapaxes(x, 0, 2)", "x(2,2,2)"),
    ("np.transpose(a, (1, 0, 2))", "a(1,2,3)"),
    ("np.expand_dims(x, axis=0)", "x(2)"),
    ("np.diff(x, n=2)", "x(5)"),
    ("np.take_along_axis(a, np.argsort(a, axis=1), axis=1)", "a(2,3)"),
    ("np.clip(a, 1, 8)", "a(10)"),
    ("np.linspace(2.0, 3.0, num=5) * x", "x(5)"),
    ("x[::-1]", "x(10)"),
    ("x[1:7:2]", "x(10)"),
    ("x[..., 0]", "x(2,3,1)"),
    ("x[:, np.newaxis, :, :].shape[1] * x[np.array([3, 3, 1, 8])]", "x(10,2,2)"),
    ("x[x > 0]", "x(20)"),
]

REFUSED = [
    ("a.add_(1)", "'add_' works in place, which is not part of the language"),
    ("torch.fft.fft(a)", "unknown function 'fft'"),
    ("torch.linalg.eigh(a).eigenvectors", "there is no '.eigenvectors' here; did you mean 'eigenvalues'?"),
    ("F.dropout(a)", "dropout: in training mode it is random; pass training=False"),
    ("F.avg_pool2d(a, 2, ceil_mode=True)", "avg_pool2d: ceil_mode is not supported"),
    ("F.interpolate(a, scale_factor=2, mode='bilinear')",
     "interpolate: of the modes only 'nearest' is supported"),
    ("torch.randn(3, requires_grad=True)", "randn has no argument 'requires_grad'"),
    ("a[0] = 1", "only names can be assigned to"),
    ("[x for x in a]",
     "comprehensions are not part of the language; use a for loop or a tensor operator"),
    ("lambda x: x", "lambda is not part of the language"),
]
# fmt: on


def arrays(shapes: str) -> dict[str, np.ndarray]:
    """``"a(2,3) b+(3)"``: random inputs by name; those marked + lie in (0, 1)."""
    random = np.random.default_rng(0)
    found = {}
    for item in shapes.split():
        name, _, sizes = item.rstrip(")").partition("(")
        shape = tuple(int(size) for size in sizes.split(","))
        drawn = random.uniform(0.1, 0.9, shape) if name.endswith("+") else random.standard_normal(shape)
        found[name.rstrip("+")] = drawn
    return found


@pytest.mark.parametrize(("expression", "shapes"), RUNS)
def test_it_runs_on_both_engines_with_one_value(expression: str, shapes: str) -> None:
    inputs = arrays(shapes)
    program = syntax.parse(expression, "expression")
    engine = TorchEngine()
    with engine.session():
        leaves = {name: torch.tensor(value, requires_grad=True) for name, value in inputs.items()}
        (by_torch,) = language.run(program, engine, leaves).outputs.values()
    (reference,) = language.run(program, ReferenceEngine(), inputs).outputs.values()
    assert by_torch.value.requires_grad
    np.testing.assert_allclose(by_torch.value.detach().numpy(), reference.value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("expression", "message"), REFUSED)
def test_it_says_what_is_not_supported(expression: str, message: str) -> None:
    with pytest.raises(Diagnostic) as raised:
        language.run(syntax.parse(expression, "expression"), TorchEngine(), {"a": torch.ones((1, 1, 2, 2))})
    assert raised.value.message == message
