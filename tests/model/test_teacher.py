import torch

from mosaic_pipeline.model.teacher import Ema, build_teacher


def test_the_teacher_shares_every_frozen_tensor_and_owns_every_trained_one(make_model):
    student = make_model()
    own = dict(student.named_parameters())
    for name, parameter in build_teacher(student).named_parameters():
        assert torch.equal(parameter, own[name])
        assert (parameter.data_ptr() == own[name].data_ptr()) == (not student.is_trainable(name))
        assert not parameter.requires_grad
    assert all(parameter.requires_grad == student.is_trainable(name) for name, parameter in own.items())


def test_ema_moves_what_the_batch_trained_by_the_formula_and_nothing_else(make_model):
    student = make_model()
    teacher = build_teacher(student)
    with torch.no_grad():
        for parameter in student.trainable_state().values():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    before = {name: tensor.clone() for name, tensor in teacher.trainable_state().items()}
    Ema(teacher, student).update("breastmnist", momentum=0.75)

    moved = {name for name, _ in student.active_parameters("breastmnist")}
    for name, tensor in teacher.trainable_state().items():
        if name in moved:
            expected = 0.75 * before[name] + 0.25 * student.trainable_state()[name]
            torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-7)
            assert not torch.equal(tensor, before[name])
        else:
            assert torch.equal(tensor, before[name])
